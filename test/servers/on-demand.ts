// Lets test files, which run in processes of their own, ask the run's one process for a server that is slow to start.
import { createConnection, createServer } from 'node:net'
import type { Shared } from './shared.ts'

export interface Counter {
  port: number
  stop(): Promise<void>
}

/** Listens on a free port; whoever connects is told of the server, which the first of them starts. */
export async function openCounter(start: () => Promise<Shared>): Promise<Counter> {
  let starting: Promise<Shared> | undefined
  const counter = createServer((socket) => {
    socket.on('error', () => undefined) // its test has ended meanwhile
    starting ??= start()
    void starting.then((shared) => socket.end(JSON.stringify(shared)))
  })
  await new Promise<void>((resolve) => counter.listen(0, '127.0.0.1', resolve))
  counter.unref()
  const { port } = counter.address() as { port: number }
  return {
    port,
    async stop() {
      counter.close()
      await starting
    },
  }
}

export function askCounter(port: number): Promise<Shared> {
  return new Promise((resolve, reject) => {
    let answer = ''
    createConnection({ port, host: '127.0.0.1' })
      .setEncoding('utf8')
      .on('error', reject)
      .on('data', (chunk) => {
        answer += chunk
      })
      .on('end', () => resolve(JSON.parse(answer) as Shared))
  })
}
