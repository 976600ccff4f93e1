// Sign-in by e-mail link; on the local stack, which sends no e-mail, with address and password.
import { useState } from "preact/hooks";
import { CallError, type Project, isSignInLink, signInWithLink, linkEmail, sendLink, signInWithPassword } from "./firebase";
import { Notice } from "./words";

export function SignIn({ project }: { project: Project }) {
  const finishing = isSignInLink();
  const byPassword = project.local && !finishing;
  const [email, setEmail] = useState(finishing ? linkEmail() : "");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const [sent, setSent] = useState(false);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError("");
    try {
      if (finishing) await signInWithLink(email);
      else if (byPassword) await signInWithPassword(email, password);
      else {
        await sendLink(email);
        setSent(true);
      }
    } catch (refused) {
      setError((refused as CallError).message);
    }
    setBusy(false);
  };

  return (
    <main class="alone">
      <h1>
        <span class="brand">nx-tasks</span> <span class="quiet">{project.id}</span>
      </h1>
      <p>
        {finishing
          ? "Confirm the e-mail address that the link was sent to."
          : byPassword
            ? "This is the local stack. Its users, an operator and a viewer, are in the terminal of make run, below “Users”."
            : "Sign in with the e-mail address that an administrator gave a role."}
      </p>
      {sent ? (
        <p role="status">
          We sent a sign-in link to <b>{email}</b>. Open it in this browser. It works once.
        </p>
      ) : (
        <form onSubmit={submit}>
          <label>
            E-mail address
            <input type="email" required autocomplete="username" value={email} onInput={(event) => setEmail(event.currentTarget.value)} />
          </label>
          {byPassword && (
            <label>
              Password
              <input
                type="password"
                required
                autocomplete="current-password"
                value={password}
                onInput={(event) => setPassword(event.currentTarget.value)}
              />
            </label>
          )}
          <button class="primary" disabled={busy}>
            {byPassword || finishing ? "Sign in" : "Send sign-in link"}
          </button>
          {error !== "" && <Notice tone="bad">{error}</Notice>}
        </form>
      )}
    </main>
  );
}
