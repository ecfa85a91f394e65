// The script of the demo's page: asks, and keeps the list of runs up to date.
export const SCRIPT = `
'use strict'
const $ = (id) => document.getElementById(id)
const form = $('ask')
const rows = new Map()
let busy = false
let timer

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  if (busy) return
  setBusy(true)
  const query = new URLSearchParams(new FormData(form))
  const times = Number(event.submitter?.value ?? 1)
  try {
    if (times === 0) await forget(query)
    else await ask(query, times)
  } catch (error) {
    say(error.message, true)
  }
  setBusy(false)
  void refresh()
})

async function forget(query) {
  const { forgotten } = await send('/report?' + query, { method: 'DELETE' })
  say(forgotten === 0 ? 'There was no result to forget.' : 'Forgotten: whoever asks next makes it run anew.')
}

async function ask(query, times) {
  say(times === 1 ? 'Asking…' : 'Asking ' + times + ' times…')
  void refresh()
  const outcomes = {}
  const waits = []
  await Promise.all(Array.from({ length: times }, async () => {
    const start = performance.now()
    const { outcome } = await send('/report?' + query)
    waits.push(performance.now() - start)
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }))
  waits.sort((one, other) => one - other)
  const middle = waits[Math.floor((times - 1) / 2)]
  const ms = middle.toFixed(middle < 10 ? 1 : 0) + ' ms'
  if (times === 1) {
    const told = { created: 'It started a run', joined: 'It joined the run', hit: 'It was answered from the cache' }
    return say((told[Object.keys(outcomes)[0]] ?? 'It was answered') + ', after ' + ms + '.')
  }
  const told = outcomesText(outcomes, { created: 'started a run', joined: 'joined it', hit: 'answered from the cache' })
  say(times + ' requests: ' + told + '. Half of them were answered within ' + ms + '.')
}

async function send(url, options) {
  let response
  try {
    response = await fetch(url, options)
  } catch {
    throw new Error('The demo does not answer: it may have been ended.')
  }
  const body = await response.json()
  if (body.error && !body.status) throw new Error(body.error.message)
  return body
}

async function refresh() {
  clearTimeout(timer)
  let pauseMs = 2000
  try {
    const { runs, asked, worker } = await send('/runs')
    for (const each of ['requests', 'created', 'joined', 'hit']) setText($(each), String(asked[each] ?? 0))
    setText($('worker'), String(worker))
    setText($('victim'), String(worker))
    show(runs)
    if (busy || runs.some(({ status }) => status === 'pending' || status === 'running')) pauseMs = 150
    $('gone')?.remove()
  } catch (error) {
    say(error.message, true)
  }
  clearTimeout(timer)
  if (!document.hidden) timer = setTimeout(refresh, pauseMs)
}

function show(runs) {
  const list = $('runs')
  $('none').hidden = runs.length > 0
  const seen = new Set()
  runs.forEach((run, index) => {
    seen.add(run.taskId)
    let row = rows.get(run.taskId)
    if (!row) {
      row = $('run').content.firstElementChild.cloneNode(true)
      rows.set(run.taskId, row)
    }
    fill(row, run)
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null)
  })
  for (const [id, row] of rows) {
    if (seen.has(id)) continue
    row.remove()
    rows.delete(id)
  }
}

function fill(row, run) {
  const { wanted, status, progress = 0, attempt, outcomes = {}, startedAt, finishedAt, result, error } = run
  const title = wanted ? wanted.year + ' as ' + wanted.format : run.taskId.slice(0, 8)
  const done = status === 'completed'
  row.className = status
  setText(row.querySelector('strong'), title)
  setText(row.querySelector('.badge'), status === 'running' ? 'running, ' + Math.round(progress * 100) + ' %' : status)
  const bar = row.querySelector('progress')
  bar.value = done ? 1 : progress
  bar.setAttribute('aria-label', 'Progress of the report ' + title)
  setText(row.querySelector('.outcomes'), outcomesText(outcomes, { created: 'started it', joined: 'joined', hit: 'from the cache' }))
  const took = done ? 'took ' + ((new Date(finishedAt) - new Date(startedAt)) / 1000).toFixed(2) + ' s' : ''
  const by = done ? ' in process ' + result.worker : ''
  const tried = attempt > 1 ? ', attempt ' + attempt : ''
  setText(row.querySelector('.took'), error ? error.message : took + by + tried)
  const link = row.querySelector('a')
  link.hidden = !done
  if (done) {
    link.href = result.url
    link.setAttribute('aria-label', 'Download the report ' + title)
  }
}

function outcomesText(outcomes, words) {
  return Object.entries(words)
    .filter(([outcome]) => outcomes[outcome] > 0)
    .map(([outcome, word]) => outcomes[outcome] + ' ' + word)
    .join(', ')
}

function say(text, failed = false) {
  setText($('said'), text)
  $('said').className = failed ? 'failed' : ''
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function setBusy(now) {
  busy = now
  // Not disabled: that would take the focus away.
  for (const button of form.querySelectorAll('button')) button.setAttribute('aria-disabled', String(now))
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) void refresh() })
$('origin').textContent = location.origin
void refresh()
`
