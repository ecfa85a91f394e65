// Plays one case: every contender in a process of its own, round after round in turns, after a warm-up.
import { fork } from 'node:child_process'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { administer } from './admin.mjs'

const CHILD = new URL('./child.mjs', import.meta.url)
const ROUNDS = { full: 7, quick: 2 }
const WARM_UPS = { full: 2, quick: 1 }
// With --calm: how much of the machine others may use, how often a round is played anew, and how long calm is waited for.
const CALM = { others: 0.15, tries: 3, waitMs: 10_000 }

/** Answers per contender its figures, one a round, in the order in which they were played. */
export async function play(played, { name, engine, url, pace, rounds, only, calm, profile }) {
  const all = { ...played.contenders, ...(url === undefined ? played.alone : {}) }
  const names = Object.keys(all).filter(
    (each) => wanted(each, played, engine, only) && !(pace === 'quick' && played.slow?.includes(each)),
  )
  const size = played.size[pace] ?? played.size.full
  const measured = rounds ?? played.rounds?.[pace] ?? ROUNDS[pace]
  if (played.lasting) await emptied(engine, url)
  const contenders = await Promise.all(
    names.map((each) => start({ name, contender: each, engine, url }, profile)),
  )
  const figures = Object.fromEntries(names.map((each) => [each, []]))
  try {
    for (let round = -WARM_UPS[pace]; round < measured; round++) {
      // Another one begins each time, so that none always comes after the same neighbour.
      for (let turn = 0; turn < names.length; turn++) {
        const place = (turn + round + names.length * 9) % names.length
        const found = await calmly(calm, () => contenders[place].round(size))
        if (round >= 0) figures[names[place]].push(found)
      }
    }
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()))
  }
  return { size, rounds: measured, figures }
}

/** Those that last share the server, and none of them may empty it. */
async function emptied(engine, url) {
  const admin = await administer(engine, url)
  await admin?.clear()
  await admin?.close()
}

function wanted(contender, played, engine, only) {
  if (only !== undefined) return only.some((word) => contender.includes(word))
  // Peers and their floors need their server.
  if (contender !== 'deferq' && played.peersOf !== undefined)
    return played.peersOf[engine]?.includes(contender) ?? false
  return (
    engine === (played.peersOn ?? 'redis') ||
    contender.startsWith('deferq') ||
    contender in (played.alone ?? {})
  )
}

async function calmly(calm, round) {
  if (!calm) return round()
  for (let tries = 1; ; tries++) {
    const deadline = Date.now() + CALM.waitMs
    while ((await busyShare()) > CALM.others && Date.now() < deadline);
    const found = await round()
    if (found.others <= CALM.others || tries === CALM.tries) return found
  }
}

async function busyShare() {
  const times = () =>
    cpus().reduce(
      (sum, { times: { idle, ...busy } }) => {
        const spent = Object.values(busy).reduce((one, other) => one + other, 0)
        return { busy: sum.busy + spent, all: sum.all + spent + idle }
      },
      { busy: 0, all: 0 },
    )
  const before = times()
  await sleep(200)
  const after = times()
  return (after.busy - before.busy) / (after.all - before.all || 1)
}

async function start(what, profile) {
  const execArgv = ['--expose-gc']
  if (profile !== undefined) {
    const file = `${what.name}-${what.contender.replace(/\W+/g, '-')}.cpuprofile`
    execArgv.push('--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${file}`)
  }
  const child = fork(CHILD, [JSON.stringify(what)], { execArgv })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const answer = () =>
    new Promise((resolve, reject) => {
      const died = (code) => reject(new Error(`${what.contender} in '${what.name}' ended with code ${code}.`))
      child.once('exit', died)
      child.once('message', (message) => {
        child.off('exit', died)
        if (message.error === undefined) resolve(message.figures)
        else reject(new Error(`${what.contender} in '${what.name}' failed: ${message.error}`))
      })
    })
  await answer()
  return {
    round(size) {
      const answered = answer()
      child.send({ size })
      return answered
    },
    async stop() {
      if (child.connected) child.disconnect()
      await ended
    },
  }
}
