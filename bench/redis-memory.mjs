// Asks a Redis how much memory its data takes.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'

/** Without the buffers of connections, which come and go. */
export async function bytesUsed({ url }) {
  const client = new Redis(url)
  // The buffers that a burst has left are cut back a little later.
  await sleep(200)
  const info = await client.info('memory')
  await client.quit()
  const field = (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  return field('used_memory') - field('mem_clients_normal')
}
