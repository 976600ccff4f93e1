// Any JSON value as a tree, with the usual arrow keys.
import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { ROUNDED, exact, isRounded, plural } from "../format";
import type { Json } from "../wire";
import { searchable } from "../search";
import { Rows, moved } from "./virtual";

interface Node {
  path: string;
  name: string;
  value: Json;
  depth: number;
  branch: boolean;
}

const isBranch = (value: Json): value is Json[] | { [key: string]: Json } =>
  typeof value === "object" && value !== null && Object.keys(value).length > 0;

/** The visible nodes: children of open nodes. */
function visible(root: Json, open: Set<string>): Node[] {
  const nodes: Node[] = [];
  const walk = (value: Json, path: string, depth: number): void => {
    if (!isBranch(value)) return;
    for (const [name, inner] of Object.entries(value)) {
      const here = `${path}/${name}`;
      nodes.push({ path: here, name, value: inner, depth, branch: isBranch(inner) });
      if (open.has(here)) walk(inner, here, depth + 1);
    }
  };
  walk(root, "", 1);
  return nodes;
}

/** Leaves whose path or value contains the text, each with its full path. */
export function leaves(root: Json, text: string): Node[] {
  const wanted = searchable(text);
  const found: Node[] = [];
  const walk = (value: Json, path: string): void => {
    for (const [name, inner] of Object.entries(value ?? {})) {
      const here = path === "" ? name : `${path} › ${name}`;
      if (isBranch(inner)) walk(inner, here);
      else if (searchable(`${here} ${JSON.stringify(inner)}`).includes(wanted)) found.push({ path: here, name: here, value: inner, depth: 1, branch: false });
    }
  };
  if (isBranch(root)) walk(root, "");
  return found;
}

interface Props {
  label: string;
  value: Json;
  /** If set, shows the matching leaves as a flat list instead of the tree. */
  search?: string;
  /** Shown if no leaf matches the search. */
  none?: ComponentChildren;
  /** Prefix of element ids, because a page may have two trees. */
  id: string;
}

export function Tree({ label, value, search = "", none, id }: Props) {
  const [open, setOpen] = useState(() => new Set(isBranch(value) && Object.keys(value).length <= 12 ? Object.keys(value).map((name) => `/${name}`) : []));
  const [at, setAt] = useState(0);
  const nodes = useMemo(() => (search === "" ? visible(value, open) : leaves(value, search)), [value, open, search]);
  const active = Math.max(0, Math.min(at, nodes.length - 1));
  const toggle = ({ path, branch }: Node, wanted = !open.has(path)): void => {
    if (!branch) return;
    const changed = new Set(open);
    if (wanted) changed.add(path);
    else changed.delete(path);
    setOpen(changed);
  };
  const keys = (event: KeyboardEvent, page: number): boolean => {
    const node = nodes[active];
    const to = moved(event.key, active, nodes.length, page);
    if (to !== null) setAt(to);
    else if (!node) return false;
    else if (event.key === "Enter" || event.key === " ") toggle(node);
    else if (event.key === "ArrowRight") toggle(node, true);
    else if (event.key === "ArrowLeft" && open.has(node.path)) toggle(node, false);
    else if (event.key === "ArrowLeft") setAt(Math.max(0, nodes.findLastIndex((one, index) => index < active && one.depth < node.depth)));
    else return false;
    return true;
  };
  if (!isBranch(value)) return <pre class="trace">{JSON.stringify(value, null, 2)}</pre>;
  if (nodes.length === 0) return none;
  return (
    <Rows
      role="tree"
      label={label}
      count={nodes.length}
      active={active}
      activeId={nodes.length > 0 ? `${id}-${active}` : undefined}
      onKey={keys}
      row={(place, style) => {
        const node = nodes[place] as Node;
        return (
          <div
            key={node.path}
            id={`${id}-${place}`}
            class={`node ${place === active ? "active" : ""}`}
            role="treeitem"
            aria-level={node.depth}
            aria-expanded={node.branch ? open.has(node.path) : undefined}
            aria-selected={place === active}
            style={{ ...style, "--depth": String(node.depth - 1) }}
            onClick={() => {
              setAt(place);
              toggle(node);
            }}
          >
            <i aria-hidden="true">{node.branch ? (open.has(node.path) ? "▾" : "▸") : ""}</i>
            <span class="key" dir="auto">{node.name}</span> <Leaf value={node.value} />
          </div>
        );
      }}
    />
  );
}

function Leaf({ value }: { value: Json }) {
  if (Array.isArray(value)) return <span class="quiet">{plural(value.length, "item")}</span>;
  if (typeof value === "object" && value !== null) return <span class="quiet">{plural(Object.keys(value).length, "field")}</span>;
  return (
    <span class={`leaf ${typeof value}`} dir="auto" title={isRounded(value) ? ROUNDED : undefined}>
      {value === null ? "null" : exact(value)}
    </span>
  );
}
