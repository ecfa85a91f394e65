// Messages that RabbitMQ has confirmed, in batches of a hundred, two of them under way.
import { callsPerSecond } from '../load.mjs'
import { BATCH, openBare, openTransport } from '../rabbitmq.mjs'

export const title = 'rabbitmq, publish: batches of 100, confirmed, two under way'
export const unit = '/s'
export const size = { full: 20_000, quick: 5_000 }
export const engines = ['rabbitmq']
export const peersOn = 'rabbitmq'

export const contenders = {
  deferq: openTransport,
  'bare: amqplib': openBare,
}

export const measure = async ({ publish }, count) => (await callsPerSecond(count / BATCH, 2, publish)) * BATCH
