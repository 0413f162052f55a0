import type { ReactNode } from "react";

interface ErrorMessageProps {
  children: ReactNode;
}

export function ErrorMessage({ children }: ErrorMessageProps) {
  return (
    <p className="error" role="alert">
      {children}
    </p>
  );
}
