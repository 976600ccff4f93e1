// Signing in: a link by e-mail; on the local stack, which sends none, an address and a password.
import { useState } from "preact/hooks";
import { CallError, type Project, cameByLink, finishLink, linkEmail, sendLink, signInWithPassword } from "./firebase";
import { Notice } from "./words";

export function SignIn({ project }: { project: Project }) {
  const finishing = cameByLink();
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
      if (finishing) await finishLink(email);
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
          ? "One step left: the address that the link was sent to."
          : byPassword
            ? "The local stack. Whoever started it was shown two identities: an operator’s and a viewer’s."
            : "Sign in with the e-mail address that your administrator gave a role."}
      </p>
      {sent ? (
        <p role="status">
          A link is on its way to <b>{email}</b>. Open it in this browser; it is good for one use.
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
            {byPassword || finishing ? "Sign in" : "Send me a link"}
          </button>
          {error !== "" && <Notice tone="bad">{error}</Notice>}
        </form>
      )}
    </main>
  );
}
