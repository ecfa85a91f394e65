// The conformance suite over RabbitMQ.
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, test } from 'vitest'
import type { TransportFactory } from '../../src/conformance/index.ts'
import { transportConformance } from '../../src/conformance/index.ts'
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'

let url: string
beforeAll(async () => {
  url = await sharedUrlOnDemand('rabbitmq')
})

const rabbitmq: TransportFactory = {
  name: 'rabbitmq',
  async create() {
    return {
      unitMs: 250,
      async connect() {
        const transport = new RabbitmqTransport({ url })
        await transport.open()
        return transport
      },
      advance: (ms) => sleep(ms),
      close: async () => undefined,
    }
  },
  skips: {
    'the depth counts what is delayed, and moves it when it is due':
      'the delayed messages of all queues lie in the same queues of the broker, which counts them together',
    'the depth counts what consumers hold, until their visibility is over':
      'AMQP tells how many are ready, and nothing of what is not acked',
    'a look takes nothing':
      'AMQP can only take and put back, which counts as a delivery (see rabbitmq.test.ts)',
  },
}

for (const { name, run, skip } of transportConformance(rabbitmq)) {
  test.concurrent(skip === undefined ? name : `${name} (${skip})`, { skip: skip !== undefined }, run)
}
