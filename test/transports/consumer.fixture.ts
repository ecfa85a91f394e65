// A consumer in a process of its own: `hold` takes one message and keeps it, `drain` takes and acks until nothing comes.
import { openTransport } from '../../src/transports/open.ts'

const [role = '', url = '', queue = '', visibilityMs = '60000'] = process.argv.slice(2)
const transport = await openTransport(url)()
await transport.open()
const want = { queues: [queue], visibilityMs: Number(visibilityMs), waitMs: 1_500 }

if (role === 'hold') {
  const [held] = await transport.reserve({ ...want, limit: 1 })
  process.stdout.write(`ready\n${new TextDecoder().decode(held?.body)}\n`)
  setInterval(() => {}, 60_000)
} else {
  process.stdout.write('ready\n')
  for (;;) {
    const taken = await transport.reserve({ ...want, limit: 7 })
    if (taken.length === 0) break
    const answers = await transport.ack(taken)
    for (const [index, { body }] of taken.entries()) {
      process.stdout.write(`${answers[index]} ${new TextDecoder().decode(body)}\n`)
    }
  }
  await transport.close()
}
