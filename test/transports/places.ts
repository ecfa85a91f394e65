// What the tests of transports share: opened transports that are closed when the test ends, queues of their own, bytes.
import { randomBytes } from 'node:crypto'
import { onTestFinished } from 'vitest'
import type { Delivery, Message, Transport } from '../../src/contract/transport.ts'

export async function opened<T extends Transport>(transport: T): Promise<T> {
  onTestFinished(() => transport.close())
  await transport.open()
  return transport
}

export const newQueue = (): string => `test-${randomBytes(6).toString('hex')}`
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const texts = (messages: readonly Message[]): string[] =>
  messages.map(({ body }) => new TextDecoder().decode(body))

/** What one look finds. */
export const take = (
  transport: Transport,
  queue: string,
  { limit = 10, visibilityMs = 60_000, waitMs = 0 } = {},
): Promise<Delivery[]> => transport.reserve({ queues: [queue], limit, visibilityMs, waitMs })
