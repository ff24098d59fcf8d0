/** Errors as OpenAI answers them: `{"error":{message,type,param,code}}` (platform.openai.com/docs/guides/error-codes). */

/** Thrown by a route to answer with the provider's error JSON. */
export class ApiError extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    message: string,
    param: string | null = null,
    code: string | null = null,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
    this.headers = headers;
  }

  /** The body of the answer. */
  toJson(): string {
    const type = this.status >= 500 ? "server_error" : "invalid_request_error";
    return JSON.stringify({ error: { message: this.message, type, param: this.param, code: this.code } });
  }
}
