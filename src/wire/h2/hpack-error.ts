/** A header block that breaks RFC 7541: a COMPRESSION_ERROR of the connection, because the tables of its ends differ from here on. */
export class HpackError extends Error {}
