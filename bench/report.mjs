// Turns figures into medians, spreads and ratios, and these into a table; tells what it was measured on.
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { administer } from './admin.mjs'

/** Ratios are deferq's figure by the other's, taken round by round: neighbours in time shared the same machine. */
export function summarise({ name, title, unit, size, rounds, figures }) {
  const own = figures.deferq
  const contenders = Object.entries(figures).map(([contender, played]) => {
    const column = (field) => {
      const values = played.map((each) => each[field]).filter((value) => value !== undefined)
      return values.length === 0 ? {} : { [field]: median(values) }
    }
    const values = played.map(({ figure }) => figure)
    const ratio =
      contender === 'deferq' || own === undefined
        ? {}
        : { ratio: median(values.map((value, round) => own[round].figure / value)) }
    return {
      contender,
      median: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
      ...column('p99'),
      ...ratio,
      ...column('clientUs'),
      ...column('serverUs'),
      ...column('others'),
      values,
    }
  })
  return { case: name, title, unit, size, rounds, contenders }
}

export function table({ title, unit, size, rounds, contenders }) {
  const p99 = contenders.some((each) => each.p99 !== undefined)
  const head = ['', unit === 'ms' && p99 ? 'p50' : 'median', 'min – max', ...(p99 ? ['p99'] : [])]
  head.push('deferq is', 'client CPU', 'server CPU')
  const rows = contenders.map((each) => [
    each.contender,
    `${spell(each.median)} ${unit}`,
    `${spell(each.min)} – ${spell(each.max)}`,
    ...(p99 ? [each.p99 === undefined ? '' : `${spell(each.p99)} ${unit}`] : []),
    each.ratio === undefined ? '' : `${each.ratio.toFixed(2)}×`,
    micro(each.clientUs),
    micro(each.serverUs),
  ])
  const kept = head.map((_, column) => column === 0 || rows.some((row) => row[column] !== ''))
  const lines = [head, ...rows].map((row) => row.filter((_, column) => kept[column]))
  const widths = lines[0].map((_, column) => Math.max(...lines.map((row) => row[column].length)))
  const line = (row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at]))).join('   ')
  const plays = `${size.toLocaleString('en')} a round, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}`
  const disturbed = Math.max(...contenders.map(({ others }) => others))
  const note =
    disturbed > 0.15
      ? [`  Others used ${Math.round(disturbed * 100)} % of the machine: only the ratios say something.`]
      : []
  return [`${title}  (${plays})`, ...note, ...lines.map((row) => `  ${line(row)}`.trimEnd())].join('\n')
}

export async function circumstances({ engine, url }) {
  const [cpu] = cpus()
  return {
    date: new Date().toISOString(),
    machine: `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GB`,
    node: process.version,
    ...(url === undefined ? {} : { server: await serverVersion(engine, url) }),
    engine,
    packages: {
      deferq: JSON.parse(readFileSync(new URL('../package.json', import.meta.url))).version,
      ...versionsOf([
        'bullmq',
        'bee-queue',
        'ioredis',
        'pg-boss',
        'graphile-worker',
        'pg',
        'async-cache-dedupe',
        'bentocache',
        'keyv',
      ]),
    },
  }
}

export function heading({ date, machine, node, server, engine, packages }) {
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`)
  return [
    `${date}, ${machine}, Node ${node}${server === undefined ? '' : `, ${server}`}, engine ${engine}`,
    `${versions.join(', ')}; CPU: time spent on each call`,
  ].join('\n')
}

function versionsOf(names) {
  const manifest = (name) => new URL(`./node_modules/${name}/package.json`, import.meta.url)
  return Object.fromEntries(names.map((name) => [name, JSON.parse(readFileSync(manifest(name))).version]))
}

async function serverVersion(engine, url) {
  const admin = await administer(engine, url)
  const version = await admin?.version()
  await admin?.close()
  return version ?? engine
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function spell(value) {
  return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 3 : 0 })
}

const micro = (value) => (value === undefined ? '' : `${value.toFixed(1)} µs`)
