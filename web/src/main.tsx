// Entry point: loads the project's configuration, then shows the sign-in or the page.
import "./styles.css";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { App } from "./app";
import { CallError, type Person, type Project, connect, onPerson } from "./firebase";
import { untilDone } from "./live";
import { NotFound } from "./not-found";
import { usePlace } from "./router";
import { SignIn } from "./sign-in";
import { applyTheme } from "./theme";
import { Notice } from "./words";

applyTheme();

function Page() {
  const place = usePlace();
  const [project, setProject] = useState<Project | CallError | null>(null);
  const [person, setPerson] = useState<Person | null | undefined>(undefined);
  useEffect(() => {
    return untilDone(
      async () => {
        setProject(await connect());
        onPerson(setPerson);
      },
      (error) => setProject(new CallError("unreachable", error instanceof Error ? error.message : String(error))),
    );
  }, []);
  if (project instanceof CallError) {
    return (
      <main class="alone">
        <h1>The page cannot start</h1>
        <Notice tone="bad">
          The project’s configuration could not be loaded: {project.message} The page tries again automatically.{" "}
          <button onClick={() => location.reload()}>Try now</button>
        </Notice>
      </main>
    );
  }
  if (project === null || person === undefined) {
    return (
      <main class="alone" aria-busy="true">
        <p class="quiet">Opening nx-tasks …</p>
      </main>
    );
  }
  if (person === null && place.view === "unknown") return <NotFound task={null} alone />;
  return (
    <>
      {person === null ? <SignIn project={project} /> : <App key={person.email} project={project} person={person} />}
      <footer class="quiet">
        nx-tasks {__VERSION__}
        {__COMMIT__ !== null && `, commit ${__COMMIT__}`}
      </footer>
    </>
  );
}

render(<Page />, document.getElementById("page") as HTMLElement);
