// A consumer that takes one message, says so, and never comes to an end: its test kills it.
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'

const [url = '', queue = ''] = process.argv.slice(2)
const transport = new RabbitmqTransport({ url })
const [held] = await transport.reserve({ queues: [queue], limit: 1, visibilityMs: 600_000, waitMs: 10_000 })
process.send?.(held === undefined ? 'nothing' : Buffer.from(held.body).toString())
