// A plain client for tests that look at, or damage, what an engine has stored.
import { Cluster, Redis } from 'ioredis'
import { readUrl } from '../../src/drivers/redis-url.ts'

export async function commands(url: string): Promise<Redis | Cluster> {
  const { kind, hosts, master } = readUrl(url)
  const client =
    kind === 'cluster'
      ? new Cluster(hosts, { lazyConnect: true })
      : kind === 'sentinel'
        ? new Redis({ sentinels: hosts, name: master as string, lazyConnect: true })
        : new Redis({ ...hosts[0], lazyConnect: true })
  await client.connect()
  return client
}
