// The style of the demo's page, in light and in dark.
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2521; --quiet: #56615b; --line: #d9ddd6;
  --main: #1f6f4f; --on-main: #ffffff; --wait: #7a5200; --bad: #a8231d; --track: #e4e8e1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141816; --card: #1c2220; --ink: #e8ece8; --quiet: #a3aea8; --line: #343d39;
    --main: #62c99a; --on-main: #0d1a14; --wait: #e6b85c; --bad: #ff8f86; --track: #2d3532;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 3rem; max-width: 46rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif;
}
h1 { margin: 0; font-size: 1.75rem; letter-spacing: -.02em; line-height: 1.2; }
h1 span { color: var(--main); }
h2 { margin: 2rem 0 .6rem; font-size: 1rem; }
p { margin: .4rem 0; }
header p, footer, .quiet, .about, dt { color: var(--quiet); }
form {
  display: flex; flex-wrap: wrap; gap: 1rem; align-items: end;
  margin: 1.5rem 0 .75rem; padding: 1.25rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
label { display: grid; gap: .3rem; font-size: .875rem; color: var(--quiet); }
input, select, button {
  height: 2.6rem; padding: 0 .8rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--paper); color: var(--ink); font: inherit; font-size: 1rem;
}
input, select { width: 5.6rem; }
input, select, button { border-color: color-mix(in srgb, var(--quiet) 65%, transparent); }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; margin-left: auto; }
button { cursor: pointer; }
button:hover { border-color: var(--ink); }
button.main { background: var(--main); border-color: var(--main); color: var(--on-main); font-weight: 600; }
button.main:hover { filter: brightness(1.08); }
button[aria-disabled=true] { opacity: .55; cursor: progress; }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
#said { min-height: 1.5rem; }
.totals { display: grid; grid-template-columns: repeat(4, 1fr); gap: .75rem; margin: 0; }
.totals div {
  display: flex; flex-direction: column-reverse; justify-content: flex-end; padding: .8rem 1rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
dt { font-size: .8125rem; line-height: 1.3; }
dd { margin: 0; font-size: 1.6rem; font-weight: 600; line-height: 1.25; font-variant-numeric: tabular-nums; }
.runs { display: grid; gap: .5rem; margin: 0; padding: 0; list-style: none; }
.runs li {
  display: grid; grid-template-columns: 13.5rem 1fr 5rem; gap: .15rem 1rem; align-items: center;
  padding: .75rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
}
.runs .about { grid-column: 1 / 3; display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .875rem; }
.runs a { grid-column: 3; grid-row: 1 / 3; justify-self: end; color: var(--main); }
.name { white-space: nowrap; }
.badge { margin-left: .35rem; font-size: .875rem; color: var(--wait); }
.completed .badge { color: var(--main); }
.failed, .failed .badge, .cancelled .badge { color: var(--bad); }
progress { appearance: none; width: 100%; height: .5rem; border: 0; border-radius: 1rem; background: var(--track); overflow: hidden; }
progress::-webkit-progress-bar { background: var(--track); }
progress::-webkit-progress-value { background: var(--main); border-radius: 1rem; }
progress::-moz-progress-bar { background: var(--main); border-radius: 1rem; }
@media (prefers-reduced-motion: no-preference) {
  progress::-webkit-progress-value { transition: inline-size .15s linear; }
}
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .875rem; }
code { font: .92em ui-monospace, 'SF Mono', Menlo, Consolas, monospace; color: var(--ink); overflow-wrap: anywhere; }
[hidden] { display: none !important; }
@media (max-width: 40rem) {
  body { padding-top: 1.5rem; }
  .buttons { margin-left: 0; }
  .totals { grid-template-columns: repeat(2, 1fr); }
  .runs li { grid-template-columns: 1fr auto; }
  .runs progress { grid-column: 1 / 3; grid-row: 2; }
  .runs .about { grid-column: 1 / 3; }
  .runs a { grid-column: 2; grid-row: 1; }
}
`
