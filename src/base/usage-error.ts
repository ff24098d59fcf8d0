/** The user gave a value that cannot be used. The message is one line, with a hint. */
export class UsageError extends Error {}
