// What a handler gets beside its params: id, attempt, signal, log, progress and touch.
import { expect, test } from 'vitest'
import type { Context } from '../../src/index.ts'
import { task } from '../../src/index.ts'
import {
  eventually,
  everywhere,
  failing,
  gate,
  listening,
  memory,
  SILENT,
  working,
  workOff,
} from '../facade/places.ts'

everywhere('progress is seen by everybody who asks, the newest, and stays after the end', async (place) => {
  const steps = [gate(), gate()]
  const task_ = task('steps', {
    run: async (_: object, { progress }: Context) => {
      progress({ step: 0, at: new Date(0) })
      await steps[0]?.opened
      progress({ step: 1 })
      progress({ step: 2, big: 5n })
      await steps[1]?.opened
      return 'done'
    },
  })
  const deferq = place.deferq({ tasks: [task_] })
  const asking = place.deferq()
  const { taskId } = await deferq.dispatch('steps', {})
  working(deferq, { lease: 1_500 })
  const shows = (step: number) =>
    eventually(`step ${step} is seen`, async () => {
      const progress = (await asking.getStatus(taskId)).progress as { step: number } | undefined
      return progress?.step === step
    })
  await shows(0)
  expect((await asking.getStatus(taskId)).progress).toEqual({ step: 0, at: new Date(0) })
  steps[0]?.open()
  await shows(2)
  expect((await asking.getStatus(taskId)).progress).toEqual({ step: 2, big: 5n })
  steps[1]?.open()
  expect(await asking.result(taskId)).toBe('done')
  expect((await asking.getStatus(taskId)).progress).toEqual({ step: 2, big: 5n })
})

everywhere(
  'a handler knows when its run was made and claimed, its attempts, and what the earlier ones left',
  async (place) => {
    const seen: Pick<Context, 'attempt' | 'maxAttempts' | 'createdAt' | 'startedAt' | 'history'>[] = []
    const deferq = place.deferq({
      tasks: [
        task('x', {
          retries: 2,
          backoff: 30,
          run: (_: object, { attempt, maxAttempts, createdAt, startedAt, history }) => {
            seen.push({ attempt, maxAttempts, createdAt, startedAt, history })
            if (attempt < 3) throw new RangeError(`no ${attempt}`)
          },
        }),
      ],
      logger: SILENT,
    })
    const { taskId } = await deferq.dispatch('x', {})
    working(deferq)
    await deferq.result(taskId)
    const { createdAt, startedAt } = await deferq.getStatus(taskId)
    expect(seen.map(({ attempt, maxAttempts }) => [attempt, maxAttempts])).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ])
    for (const each of seen) expect(each.createdAt).toEqual(createdAt)
    expect(seen[2]?.startedAt).toEqual(startedAt)
    const [first, second] = seen.map((each) => each.startedAt.getTime()) as [number, number]
    expect(second - first).toBeGreaterThan(25)
    expect(seen.map(({ history }) => history.map(({ error }) => error.message))).toEqual([
      [],
      ['no 1'],
      ['no 1', 'no 2'],
    ])
  },
)

test('progress that can’t be stored is refused by its name, where it is told', async () => {
  const deferq = memory().deferq({
    tasks: [task('x', { run: (_: object, { progress }) => progress({ at: () => 1 }), retries: 0 })],
    logger: SILENT,
  })
  const { taskId } = await deferq.dispatch('x', {})
  await workOff(deferq)
  const { cause } = await failing('TASK_FAILED', deferq.getResult(taskId))
  expect((cause as Error).message).toMatch(/^progress\.at is a function/)
})

test('id, name, attempt and parent say which attempt this is', async () => {
  const seen: object[] = []
  const x = task('x', {
    retries: 1,
    backoff: 0,
    run: (_: object, { id, name, attempt, parent, signal }) => {
      seen.push({ id, name, attempt, parent, aborted: signal.aborted })
      if (attempt === 1) throw new Error('again')
    },
  })
  const deferq = memory().deferq({ tasks: [x], logger: SILENT })
  const { taskId } = await deferq.dispatch('x', {})
  working(deferq)
  await deferq.result(taskId)
  const said = { id: taskId, name: 'x', parent: undefined, aborted: false }
  expect(seen).toEqual([
    { ...said, attempt: 1 },
    { ...said, attempt: 2 },
  ])
})

test('what a handler logs says of which attempt, with a logger that has children and with one that has none', async () => {
  const bare = listening()
  const withChildren = listening()
  const children: object[] = []
  const child = (fields: object) => {
    children.push(fields)
    return withChildren.logger
  }
  const x = task('x', {
    run: (_: object, { log }) => {
      log.info({ rows: 5 }, 'half way')
      log.debug({}, 'd')
      log.warn({}, 'w')
      log.error({}, 'e')
    },
  })
  const place = memory()
  const deferq = place.deferq({ tasks: [x] })
  const { taskId } = await deferq.dispatch('x', {})
  await workOff(deferq, { logger: bare.logger })
  expect(bare.lines.slice(0, 4).map(({ level }) => level)).toEqual(['info', 'debug', 'warn', 'error'])
  expect(bare.lines[0]).toEqual({
    level: 'info',
    details: { taskId, name: 'x', attempt: 1, rows: 5 },
    message: 'half way',
  })
  await deferq.dispatch('x', { again: true })
  await workOff(deferq, { logger: Object.assign(withChildren.logger, { child }) })
  expect(children).toMatchObject([{ name: 'x', attempt: 1 }])
  expect(withChildren.lines[0]).toMatchObject({ details: { rows: 5 } })
})

test('the default logger takes what is no JSON', async () => {
  const written: string[] = []
  const write = process.stderr.write
  process.stderr.write = ((text: string) => written.push(text) > 0) as never
  try {
    const { DeferQ } = await import('../../src/index.ts')
    const x = task('x', {
      run: (_: object, { log }) => {
        const cyclic: Record<string, unknown> = { big: 5n }
        cyclic.self = cyclic
        log.warn(cyclic, 'a cycle')
        log.info({}, 'not shown')
        return 1
      },
    })
    const deferq = new DeferQ({ tasks: [x] })
    const { taskId } = await deferq.dispatch('x', {})
    await workOff(deferq)
    expect(await deferq.getResult(taskId)).toBe(1)
    await deferq.close()
  } finally {
    process.stderr.write = write
  }
  expect(written.filter((line) => /a cycle/.test(line))).toHaveLength(1)
  expect(written.join('')).not.toContain('not shown')
})

everywhere('touch renews the lease, and rejects once the attempt is over', async (place) => {
  const over = gate()
  const ends: string[] = []
  const long = task('long', {
    retries: 0,
    run: async (_: object, { touch, signal }) => {
      await touch()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await over.opened
      await touch().catch((error) => ends.push(error.code))
    },
  })
  const deferq = place.deferq({ tasks: [long] })
  const { taskId } = await deferq.dispatch('long', {}, { timeout: 100 })
  working(deferq)
  await failing('TASK_FAILED', deferq.result(taskId))
  over.open()
  await eventually('touch was refused', () => ends.length === 1)
  expect(ends).toEqual(['LEASE_LOST'])
})
