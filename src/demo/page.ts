// The page of the demo as one self-contained piece of HTML, and the policy that holds it to that.
import { createHash } from 'node:crypto'
import { SCRIPT } from './page-script.ts'
import { STYLE } from './page-style.ts'
import { FORMATS, YEARS } from './report.ts'

const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M2 3l5 5-5 5M2 8h12' fill='none' stroke='%232f7d5b' stroke-width='2.4' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E"

const formats = FORMATS.map((format) => `<option>${format}</option>`).join('')

export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>deferq demo</title>
<link rel="icon" href="${ICON}">
<style>${STYLE}</style>
</head>
<body>
<header>
  <h1>deferq <span>demo</span></h1>
  <p>A report takes two seconds to make. However many ask for it, it is made once.</p>
</header>
<main>
  <form id="ask" action="/report" method="get" aria-label="Ask for a report">
    <label>Year
      <input name="year" type="number" inputmode="numeric" min="${YEARS.first}" max="${YEARS.last}" value="2025" required>
    </label>
    <label>Format
      <select name="format">${formats}</select>
    </label>
    <div class="buttons">
      <button type="submit" value="100" class="main">Ask 100 times</button>
      <button type="submit" value="1">Ask once</button>
      <button type="submit" value="0">Forget the result</button>
    </div>
  </form>
  <p id="said" role="status">Ask for a report, then ask for it again.</p>
  <noscript><p class="failed">The list below needs JavaScript; the form works without it and answers with JSON.</p></noscript>

  <section aria-labelledby="so-far">
    <h2 id="so-far">So far</h2>
    <dl class="totals">
      <div><dt>Requests</dt><dd id="requests">0</dd></div>
      <div><dt>Runs</dt><dd id="created">0</dd></div>
      <div><dt>Joined a run</dt><dd id="joined">0</dd></div>
      <div><dt>Answered from the cache</dt><dd id="hit">0</dd></div>
    </dl>
  </section>

  <section aria-labelledby="runs-title">
    <h2 id="runs-title">Runs</h2>
    <ul id="runs" class="runs"></ul>
    <p id="none" class="quiet">None yet.</p>
  </section>
</main>
<footer>
  <p>Reports are made by the worker, process <code id="worker">…</code>. Kill it while it is busy
  (<code>kill -9 <span id="victim">…</span></code>): another one takes over, and whoever asked still gets the report.</p>
  <p>The same by hand: <code>curl -i '<span id="origin"></span>/report?year=2025&amp;format=pdf'</code></p>
</footer>
<template id="run">
  <li>
    <div class="name"><strong></strong> <span class="badge"></span></div>
    <progress max="1" value="0"></progress>
    <div class="about"><span class="outcomes"></span><span class="took"></span></div>
    <a download hidden>Download</a>
  </li>
</template>
<script>${SCRIPT}</script>
</body>
</html>
`

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

/** Nothing is loaded but from the app itself, and no script runs but the page's own. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(STYLE)}`,
  'img-src data:',
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')
