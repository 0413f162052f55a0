export interface Greeting {
  message: string;
}

export interface Note {
  id: number;
  text: string;
  /** An RFC 3339 date and time. */
  created_at: string;
}

export interface ErrorDetail {
  code: string;
  message: string;
}
