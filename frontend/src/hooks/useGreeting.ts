import { useEffect, useState } from "react";
import { fetchGreeting } from "../api/client";
import { errorMessage } from "../api/errors";

export type GreetingState =
  | { status: "loading" }
  | { status: "ready"; message: string }
  | { status: "failed"; error: string };

export function useGreeting(): GreetingState {
  const [state, setState] = useState<GreetingState>({ status: "loading" });

  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;

    async function load() {
      try {
        const { message } = await fetchGreeting(signal);
        if (!signal.aborted) setState({ status: "ready", message });
      } catch (error) {
        if (!signal.aborted) setState({ status: "failed", error: errorMessage(error) });
      }
    }

    void load();
    return () => controller.abort();
  }, []);

  return state;
}
