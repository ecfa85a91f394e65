// What the tests of the bridge share: a broker in memory, messages as others write them, and bridges that end with the test.
import { randomUUID } from 'node:crypto'
import { onTestFinished } from 'vitest'
import type { BridgeOptions } from '../../src/bridge/index.ts'
import { Bridge } from '../../src/bridge/index.ts'
import type { Message, Transport } from '../../src/contract/transport.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/open.ts'
import type { AnyDeferQ } from '../facade/places.ts'
import { eventually } from '../facade/places.ts'

export interface Post {
  broker: MemoryBroker
  transport(): Transport
  put(queue: string, ...bodies: (string | Uint8Array)[]): Promise<void>
  messages(queue: string): Promise<Message[]>
  texts(queue: string): Promise<string[]>
  /** Until nothing is ready, delayed or in anybody's hands. */
  emptied(queue: string): Promise<void>
}

export function post(now?: () => number): Post {
  const broker = new MemoryBroker(now === undefined ? {} : { now })
  const own = new MemoryTransport({ broker })
  return {
    broker,
    transport() {
      const transport = new MemoryTransport({ broker })
      onTestFinished(() => transport.close())
      return transport
    },
    put: (queue, ...bodies) =>
      own.publish(
        bodies.map((body) => ({ queue, body: typeof body === 'string' ? Buffer.from(body) : body })),
      ),
    messages: (queue) => own.peek(queue, 1_000),
    texts: async (queue) => (await own.peek(queue, 1_000)).map(({ body }) => Buffer.from(body).toString()),
    emptied: (queue) =>
      eventually(`${queue} is empty`, async () => {
        const [depth] = await own.depth([queue])
        return depth?.ready === 0 && depth.delayed === 0 && depth.reserved === 0
      }),
  }
}

/** As PHP writes it; `changes` replaces members. */
export function letter(
  urn: string,
  data: object = {},
  { id = randomUUID() as string, trace = randomUUID() as string, attempts = 0, version = 1 as unknown } = {},
): string {
  return (
    `{"job":${JSON.stringify(urn)},"trace_id":${JSON.stringify(trace)},"data":${JSON.stringify(data)},` +
    `"meta":{"id":"${id}","queue":"orders","lang":"php","schema_version":${JSON.stringify(version)},"created_at":1767225600123},"attempts":${attempts}}`
  )
}

export function bridging(deferq: AnyDeferQ, options: BridgeOptions): Bridge {
  const bridge = new Bridge(deferq, { wait: 50, ...options })
  const ran = bridge.run()
  ran.catch(() => {})
  onTestFinished(() => bridge.close())
  return bridge
}
