// Tasks whose params and results have a given size, from dispatch to result: a case for each size.

import { NAME, openBullmq, openDeferq } from './contenders.mjs'
import { openRedisFloor } from './floors.mjs'
import { callsPerSecond, expect } from './load.mjs'

export const unit = '/s'
export const engines = ['redis', 'memory', 'sqlite', 'postgres']

export function sized(bytes, callers) {
  const text = 'x'.repeat(bytes)
  return {
    contenders: {
      async deferq(at) {
        const { deferq, worker, close } = await openDeferq(at, { run: () => text, concurrency: callers })
        void worker.run()
        return { call: (index) => deferq.run(NAME, { index, text }), close }
      },

      async bullmq(at) {
        const settings = { run: async () => text, concurrency: callers, events: true, keep: 100 }
        const { queue, queueEvents, worker, close } = await openBullmq(at, settings)
        void worker.run()
        const call = async (index) => (await queue.add(NAME, { index, text })).waitUntilFinished(queueEvents)
        return { call, close }
      },

      async 'floor: two bare scripts'(at) {
        const { begin, end, close } = await openRedisFloor(at)
        const call = async (index) => {
          await end(await begin(index, { index, text }), text)
          return text
        }
        return { call, close }
      },
    },
    measure: ({ call }, count) =>
      callsPerSecond(count, callers, async (index) =>
        expect((await call(index)).length, bytes, 'The result’s length'),
      ),
  }
}
