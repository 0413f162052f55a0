import { useGreeting } from "../hooks/useGreeting";
import { ErrorMessage } from "./ErrorMessage";

export function Greeting() {
  const greeting = useGreeting();

  switch (greeting.status) {
    case "loading":
      return <p className="quiet">Loading the greeting…</p>;
    case "failed":
      return <ErrorMessage>{greeting.error}</ErrorMessage>;
    case "ready":
      return (
        <p className="greeting" data-testid="greeting">
          {greeting.message}
        </p>
      );
  }
}
