// Messages taken from RabbitMQ and acked, a hundred at a time.
import { callsPerSecond, perSecond } from '../load.mjs'
import { BATCH, openBare, openTransport } from '../rabbitmq.mjs'

export const title = 'rabbitmq, consume: take 100, ack them'
export const unit = '/s'
export const size = { full: 20_000, quick: 5_000 }
export const engines = ['rabbitmq']
export const peersOn = 'rabbitmq'

export const contenders = {
  deferq: openTransport,
  'deferq, two loops': (at) => openTransport(at, 2),
  'bare: amqplib, pushed': openBare,
}

export const prepare = ({ publish }, count) => callsPerSecond(count / BATCH, 2, publish)

export async function measure({ consume }, count) {
  const began = performance.now()
  await consume(count)
  return perSecond(count, began)
}
