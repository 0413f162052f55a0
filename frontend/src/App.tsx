import { useEffect } from "react";
import { Greeting } from "./components/Greeting";
import { Notes } from "./components/Notes";
import { TITLE } from "./title";

export function App() {
  useEffect(() => {
    document.title = TITLE;
  });

  return (
    <>
      <header>
        <h1>{TITLE}</h1>
        <Greeting />
      </header>
      <main>
        <Notes />
      </main>
    </>
  );
}
