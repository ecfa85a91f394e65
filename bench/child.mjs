// A process of its own for one contender of one case: plays a round when told to, and answers its figures.
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { administer } from './admin.mjs'

const { name, contender, engine, url } = JSON.parse(process.argv[2])
const played = await import(`./cases/${name}.mjs`)
const open = played.contenders[contender] ?? played.alone[contender]
const admin = await administer(engine, url)
const dir = await mkdtemp(join(tmpdir(), 'deferq-bench-'))
let round = 0
let lasting

// One after another: a round is not to be measured while another one is cleaned up.
let last = Promise.resolve()
process.on('message', ({ size }) => {
  last = last
    .then(() => play(size))
    .then(
      (figures) => process.send({ figures }),
      (error) => process.send({ error: error.stack ?? String(error) }),
    )
})
process.on('disconnect', async () => {
  if (lasting !== undefined) {
    await lasting.close()
    await admin?.clear()
  }
  await admin?.close()
  await rm(dir, { recursive: true, force: true })
  process.exit()
})
process.send({ ready: true })

async function play(size) {
  const contending = played.lasting ? (lasting ??= await opened()) : await opened()
  try {
    await played.prepare?.(contending, size)
    // Only what is young. A full collection throws compiled code away, too: everything took up to 1.6 times as long after it.
    globalThis.gc({ type: 'minor' })
    const before = await cpu()
    const measured = await played.measure(contending, size)
    const after = await cpu()
    return {
      others: others(before, after),
      ...(typeof measured === 'number' ? { figure: measured } : { figure: measured.p50, p99: measured.p99 }),
      ...(played.cpu === false ? {} : spent(before, after, size)),
    }
  } finally {
    if (!played.lasting) await contending.close()
  }
}

/** In an empty store; what lasts shares the server with others of its kind, and has a part of its own there. */
async function opened() {
  if (!played.lasting) await admin?.clear()
  return open({ url: addressOf(engine), own: played.lasting ? contender.replace(/\W+/g, '') : undefined })
}

function addressOf(engine) {
  if (url !== undefined) return url
  return engine === 'sqlite' ? `sqlite:${join(dir, `${round++}.db`)}` : 'memory:'
}

const spent = (before, after, size) => ({
  clientUs: (after.client - before.client) / size,
  ...(admin === undefined ? {} : { serverUs: (after.server - before.server) / size }),
})

/** The share of the machine that neither side has used: what disturbed the round. */
function others(before, after) {
  const passed = (after.at - before.at) * 1_000 * cpus().length
  const field = (name) => after[name] - before[name]
  return Math.max(0, (field('machine') - field('client') - field('server')) / passed)
}

/** What has been spent so far, in microseconds: steadier than the clock on a machine that others use too. */
async function cpu() {
  const { user, system } = process.cpuUsage()
  return {
    at: performance.now(),
    client: user + system,
    server: (await admin?.cpuUs()) ?? 0,
    machine: cpus().reduce(
      (sum, { times }) => sum + (times.user + times.nice + times.sys + times.irq) * 1_000,
      0,
    ),
  }
}
