// A trace id goes with its run: into the handler's context, its log lines, its follow-ups and what it dispatches.
import { expect } from 'vitest'
import { traceIdHere } from '../../src/base/trace.ts'
import type { Context } from '../../src/index.ts'
import { task } from '../../src/index.ts'
import { everywhere, failing, listening, workOff } from '../facade/places.ts'

const TRACE = 'a trace/id, as "others" écrivent'

everywhere('a trace id reaches all that follows from a dispatch', async (place) => {
  const seen: Record<string, string | undefined> = {}
  const note = (name: string, { traceId }: Context): void => {
    seen[name] = traceId
  }
  const { logger, lines } = listening()
  const deferq = place.deferq({
    logger,
    tasks: [
      task('first', {
        run: async (_: object, context) => {
          note('first', context)
          context.log.info({}, 'a line of the handler')
          await new Promise((resolve) => setImmediate(resolve))
          await deferq.dispatch('inner', {})
          await deferq.dispatch('own', {}, { traceId: 'its own' })
          if (context.attempt === 1) throw new Error('once')
        },
        backoff: 0,
      }),
      task('inner', { run: (_: object, context) => note('inner', context) }),
      task('own', { run: (_: object, context) => note('own', context) }),
      task('second', { run: (_: object, context) => note('second', context) }),
      task('third', { run: (_: object, context) => note('third', context) }),
      task('none', {
        run: (_: object, context) => {
          note('none', context)
          seen.here = traceIdHere()
        },
      }),
    ],
  })
  const { taskId, fingerprint } = await deferq.dispatch(
    'first',
    {},
    { traceId: TRACE, callback: ['second', 'third'] },
  )
  const other = await deferq.dispatch('first', {}, { traceId: 'another' })
  await deferq.dispatch('none', {})
  await workOff(deferq)
  expect(seen).toEqual({
    first: TRACE,
    inner: TRACE,
    own: 'its own',
    second: TRACE,
    third: TRACE,
    none: undefined,
    here: undefined,
  })
  const ofFirst = lines.filter(({ details }) => details.taskId === taskId)
  expect(ofFirst.map(({ message }) => message)).toEqual([
    'a line of the handler',
    "'first' failed and is tried again",
    'a line of the handler',
  ])
  expect(ofFirst.every(({ details }) => details.traceId === TRACE)).toBe(true)
  expect(other).toMatchObject({ outcome: 'joined', taskId, fingerprint })
  expect((await deferq.getStatus(taskId)).traceId).toBe(TRACE)
  expect((await deferq.list({ name: 'none' })).receipts[0]?.traceId).toBeUndefined()
})

everywhere('a retry keeps the trace id, and one that is none is refused', async (place) => {
  const deferq = place.deferq({
    tasks: [
      task('broken', {
        retries: 0,
        run: () => {
          throw new Error('always')
        },
      }),
    ],
  })
  const { taskId } = await deferq.dispatch('broken', {}, { traceId: TRACE })
  await workOff(deferq)
  const again = await deferq.retry(taskId)
  expect((await deferq.getStatus(again.taskId)).traceId).toBe(TRACE)
  for (const traceId of ['', 'x'.repeat(513), 7 as never])
    await failing('INVALID_OPTION', () => deferq.dispatch('broken', {}, { traceId }))
})
