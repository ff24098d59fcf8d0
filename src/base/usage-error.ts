/** Something the user gave cannot be used; the message is one line, with a hint. */
export class UsageError extends Error {}
