// Every wait settles, each end tells itself apart, and nothing is left behind: no listener, no timer, no process.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test, vi } from 'vitest'
import { DeferQ, task } from '../../src/index.ts'
import {
  breakable,
  eventually,
  everywhere,
  failing,
  gate,
  memory,
  SHARED_PLACES,
  SILENT,
  working,
  workOff,
} from './places.ts'

afterEach(() => {
  vi.useRealTimers()
})

const UNKNOWN = 'a'.repeat(88)

everywhere('done, failed and cancelled: each wait ends with its own', async (place) => {
  const deferq = place.deferq({
    tasks: [
      task('good', { run: () => 'done' }),
      task('bad', {
        retries: 0,
        run: () => {
          throw new RangeError('broken')
        },
      }),
      task('long', {
        run: (_: object, { signal }) => new Promise((_, no) => signal.addEventListener('abort', no)),
      }),
    ],
  })
  const asking = place.deferq()
  const [good, bad, long, waiting] = await Promise.all([
    deferq.dispatch('good', {}),
    deferq.dispatch('bad', {}),
    deferq.dispatch('long', {}),
    deferq.dispatch('good', {}, { delay: '1h', idempotencyKey: 'later' }),
  ])
  // Waits from another connection, and two of them from the same.
  const ends = [good, bad, long, waiting, good].map(({ taskId }) =>
    asking.result(taskId).catch((error) => error),
  )
  working(deferq)
  expect(await ends[0]).toBe('done')
  expect(await ends[4]).toBe('done')
  expect(await ends[1]).toMatchObject({ code: 'TASK_FAILED', message: expect.stringMatching(/broken/) })
  await eventually('it runs', async () => (await asking.getStatus(long.taskId)).status === 'running')
  expect(await asking.cancel(long.taskId, 'not wanted any more')).toBe('cancelled')
  expect(await ends[2]).toMatchObject({
    code: 'TASK_CANCELLED',
    message: expect.stringMatching(/not wanted any more/),
  })
  expect(await asking.cancel(waiting.taskId)).toBe('cancelled')
  expect(await ends[3]).toMatchObject({ code: 'TASK_CANCELLED' })
})

everywhere('a run that is superseded still answers those who wait for it', async (place) => {
  const gates = [gate(), gate()]
  let begun = 0
  const slow = task('slow', {
    run: async () => {
      const index = begun++
      await gates[index]?.opened
      return index
    },
  })
  const deferq = place.deferq({ tasks: [slow] })
  working(deferq)
  const first = await deferq.dispatch('slow', {})
  const waiting = deferq.result(first.taskId)
  await eventually('the first runs', () => begun === 1)
  expect(await deferq.invalidate('slow', {})).toBe(1)
  const second = await deferq.dispatch('slow', {})
  expect(second).toMatchObject({ outcome: 'created' })
  await eventually('the second runs beside it', () => begun === 2)
  gates[1]?.open()
  expect(await deferq.result(second.taskId)).toBe(1)
  gates[0]?.open()
  expect(await waiting).toBe(0)
  expect(await deferq.getResult(first.taskId)).toBe(0)
  expect(await deferq.run('slow', {})).toBe(1)
})

test('what is not there (any more) is TASK_NOT_FOUND, also when it goes while it is waited for', async () => {
  let now = 1_750_000_000_000
  const deferq = memory(() => now).deferq({
    tasks: [task('x', { run: () => 1, retention: '10s', resultTtl: 0 })],
  })
  const { taskId } = await deferq.dispatch('x', {})
  await workOff(deferq)
  expect(await deferq.result(taskId)).toBe(1)
  now += 10_000
  await failing('TASK_NOT_FOUND', deferq.result(taskId))
  for (const call of ['result', 'getResult', 'getStatus', 'retry'] as const) {
    const error = await failing('TASK_NOT_FOUND', deferq[call](UNKNOWN))
    expect(error.details).toEqual({ taskId: UNKNOWN, fingerprint: UNKNOWN.slice(0, 64) })
  }
  expect(await deferq.cancel(UNKNOWN)).toBe('unknown')
  expect(await deferq.invalidate(UNKNOWN)).toBe(0)
})

test('what is no id is INVALID_ID before the store is asked', async () => {
  const { engine, calls } = breakable()
  const deferq = new DeferQ({ engine, logger: SILENT })
  const wrong = [
    '',
    'x',
    'A'.repeat(88),
    'a'.repeat(87),
    'a'.repeat(89),
    `${'a'.repeat(87)}\n`,
    null,
    undefined,
    5,
    {},
  ]
  for (const id of wrong as string[]) {
    for (const call of ['result', 'getResult', 'getStatus', 'cancel', 'retry'] as const) {
      await failing('INVALID_ID', deferq[call](id))
    }
  }
  expect(calls.read ?? calls.cancel).toBeUndefined()
  await deferq.close()
})

everywhere('close ends what waits, is idempotent, and nothing works after it', async (place) => {
  const deferq = place.deferq({ tasks: [task('x', { run: () => 1 })] })
  const { taskId } = await deferq.dispatch('x', {}, { delay: '1h' })
  const waits = [deferq.result(taskId), deferq.result(taskId, { timeout: '1h' }), deferq.run('x', {})].map(
    (wait) => failing('CLOSED', wait),
  )
  await eventually('all wait', async () => (await place.deferq().stats()).totals.joined === 1)
  await Promise.all([deferq.close(), deferq.close(), deferq[Symbol.asyncDispose]()])
  await deferq.close()
  await Promise.all(waits)

  const started = performance.now()
  for (const call of [
    () => deferq.open(),
    () => deferq.dispatch('x', {}),
    () => deferq.dispatchMany([{ name: 'x', params: {} }]),
    () => deferq.run('x', {}),
    () => deferq.result(taskId),
    () => deferq.getStatus(taskId),
    () => deferq.getResult(taskId),
    () => deferq.cancel(taskId),
    () => deferq.invalidate('x'),
    () => deferq.retry(taskId),
    () => deferq.list(),
    () => deferq.stats(),
  ]) {
    await failing('CLOSED', call)
  }
  // A closed deferq stays closed: no call waits for it to come back.
  expect(performance.now() - started).toBeLessThan(5_000)
  expect((await place.deferq().getStatus(taskId)).status).toBe('pending')
})

test('closed before it was opened, or while it opens', async () => {
  const never = new DeferQ({ logger: SILENT })
  await never.close()
  await failing('CLOSED', never.dispatch('x', {}))

  const broken = breakable()
  broken.hang(['open'])
  const opening = new DeferQ({ engine: broken.engine, logger: SILENT })
  const opened = opening.open()
  const closed = opening.close()
  broken.mend()
  await opened
  await closed
  expect(broken.calls.close).toHaveLength(1)
})

test('with no hints at all every wait still ends, by polling', async () => {
  const { engine } = breakable()
  const mute = new Proxy(engine, {
    get: (target, verb) => (verb === 'listen' ? () => () => true : Reflect.get(target, verb)),
  })
  const deferq = new DeferQ({ engine: mute, logger: SILENT, tasks: [task('x', { run: (n: number) => n })] })
  working(deferq)
  expect(await Promise.all([1, 2, 3].map((n) => deferq.run('x', n)))).toEqual([1, 2, 3])
  await deferq.close()
})

for (const name of ['memory', ...Object.keys(SHARED_PLACES)] as ('memory' | keyof typeof SHARED_PLACES)[]) {
  test(`a script that closes deferq ends by itself [${name}]`, async () => {
    const url = name === 'memory' ? 'memory:' : ((await SHARED_PLACES[name]()).url as string)
    const script = fileURLToPath(new URL('script.fixture.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', 'tsx', script, url], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let said = ''
    child.stdout.on('data', (chunk) => {
      said += chunk
    })
    const late = setTimeout(() => child.kill('SIGKILL'), 18_000)
    const [code] = await once(child, 'exit')
    clearTimeout(late)
    expect({ code, said }).toEqual({ code: 0, said: 'done WAIT_TIMEOUT ABORTED CLOSED stopped\n' })
  })
}
