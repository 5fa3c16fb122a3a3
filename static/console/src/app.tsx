// The shell: navigation, the page of the address, toasts.
import { effect, signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { connection, entities } from "./live";
import { navigation, type PageComponent } from "./pages";
import { location, match } from "./router";
import { Toasts } from "./toasts";
import { Loading } from "./ui/page";
import { Shortcuts, ShortcutsButton } from "./ui/shortcuts";

type Theme = "system" | "light" | "dark";
const THEME = "mldb.theme";
const theme = signal<Theme>((localStorage.getItem(THEME) as Theme | null) ?? "system");

// At once, not after the next frame: the page may be left by then.
effect(() => {
  localStorage.setItem(THEME, theme.value);
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

export function App() {
  return (
    <>
      <a class="skip button" href="#main">
        Skip to the page
      </a>
      <Navigation />
      <main id="main" tabIndex={-1}>
        <Current />
      </main>
      <Shortcuts />
      <Toasts />
    </>
  );
}

function Navigation() {
  const open = useSignal(false);
  const current = match.value?.page.under ?? location.value.pathname;
  useEffect(() => {
    open.value = false;
  }, [location.value, open]);
  return (
    <nav class={open.value ? "side open" : "side"} aria-label="Console">
      <a class="brand" href="/">
        <img src="/static/icon.svg" alt="" />
        MLDB
      </a>
      <button
        type="button"
        class="menu"
        aria-expanded={open.value}
        onClick={() => {
          open.value = !open.value;
        }}
      >
        Menu
      </button>
      <ul>
        {navigation.map(({ label, href, count }) => (
          <li key={href}>
            <a href={href} aria-current={href === current ? "page" : undefined}>
              {label}
              {count && <span class="count">{entities[count].value.length || ""}</span>}
            </a>
          </li>
        ))}
      </ul>
      <div class="foot">
        <ConnectionState />
        <ShortcutsButton />
        <label class="row">
          <span class="visually-hidden">Colours</span>
          <select
            value={theme.value}
            onChange={(event) => {
              theme.value = event.currentTarget.value as Theme;
            }}
          >
            <option value="system">Colours of the system</option>
            <option value="light">Light</option>
            <option value="dark">Dark</option>
          </select>
        </label>
      </div>
    </nav>
  );
}

const CONNECTION = {
  connecting: ["", "connecting"],
  live: ["good", "live"],
  lost: ["error", "connection lost"],
} as const;

function ConnectionState() {
  const [kind, text] = CONNECTION[connection.value];
  return (
    <span class={`badge ${kind}`} role="status">
      {text}
    </span>
  );
}

/** The page of the address, loaded when it is first opened. */
function Current() {
  const found = match.value;
  const page = found?.page;
  const shown = useSignal<{ of: typeof page; component: PageComponent } | undefined>(undefined);
  const failed = useSignal(false);
  const { id, procedure } = found?.params ?? {};
  useEffect(() => {
    const of = id ?? procedure;
    document.title = `${of ? `${of} · ` : ""}${page?.title ?? "Not found"} · MLDB`;
  }, [page, id, procedure]);
  useEffect(() => {
    failed.value = false;
    let current = true;
    page?.load().then(
      (module) => {
        if (current) shown.value = { of: page, component: module.default };
      },
      () => {
        failed.value = current;
      },
    );
    return () => {
      current = false;
    };
  }, [page, shown, failed]);
  if (!found) return <NotFound />;
  if (failed.value) return <Outdated />;
  if (shown.value?.of !== page || !shown.value) return <Loading />;
  const Component = shown.value.component;
  return <Component key={JSON.stringify(found.params)} params={found.params} />;
}

function NotFound() {
  return (
    <div class="empty">
      <h1>There is no such page</h1>
      <p>What there is:</p>
      <ul class="row ways">
        {navigation.map(({ label, href }) => (
          <li key={href}>
            <a href={href}>{label}</a>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A server that was updated has other files than the page that is open. */
function Outdated() {
  return (
    <div class="empty">
      <p>This part of the console could not be loaded; the server may have been updated.</p>
      <button type="button" class="primary" onClick={() => window.location.reload()}>
        Load the page again
      </button>
    </div>
  );
}
