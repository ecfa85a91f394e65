// What a contender's process asks of the server it measures on: to be emptied between rounds, and how much it has worked.
import { readdirSync, readFileSync } from 'node:fs'

/** `cpuUs`: what the server has spent so far, in microseconds; 0 where that can't be told. */
export async function administer(engine, url) {
  // Each round on RabbitMQ has queues of its own.
  if (url === undefined || engine === 'rabbitmq') return undefined
  return engine === 'postgres' ? postgres(url) : redis(url)
}

async function redis(url) {
  const { Redis } = await import('ioredis')
  const client = new Redis(url)
  return {
    version: async () => `Redis ${/^redis_version:(\S+)/m.exec(await client.info('server'))?.[1]}`,
    clear: () => client.flushdb(),
    async cpuUs() {
      const info = await client.info('cpu')
      const seconds = (field) => Number(new RegExp(`^${field}:([\\d.]+)`, 'm').exec(info)?.[1] ?? 0)
      return (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6
    },
    close: () => client.disconnect(),
  }
}

async function postgres(url) {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query('select pg_backend_pid() as pid')
  const main = statOf(rows[0].pid)?.parent
  return {
    version: async () => `PostgreSQL ${(await client.query('show server_version')).rows[0].server_version}`,
    async clear() {
      const { rows } = await client.query(
        "select quote_ident(nspname) as name from pg_namespace where nspname !~ '^pg_|^information_schema$|^public$'",
      )
      for (const { name } of rows) await client.query(`drop schema if exists ${name} cascade`)
      await client.query('checkpoint')
    },
    // Of the server's main process, those of its children that live, and those that have ended.
    cpuUs: async () => (main === undefined ? 0 : cpuOf(main)),
    close: () => client.end(),
  }
}

function cpuOf(main) {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const stats = all.map(statOf).filter((stat) => stat && (stat.pid === main || stat.parent === main))
  // In hundredths of a second.
  return stats.reduce((sum, { pid, own, ended }) => sum + own + (pid === main ? ended : 0), 0) * 10_000
}

function statOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').map(Number)
    return {
      pid: Number(pid),
      parent: fields[1],
      own: fields[11] + fields[12],
      ended: fields[13] + fields[14],
    }
  } catch {
    return undefined // it has ended meanwhile, or there is no /proc here
  }
}
