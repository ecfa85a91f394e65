// Reads what a PostgresEngine is opened with: a URL with options of ours in it, and the options beside it.

import { DeferqError, maskUrl } from '../../base/errors.ts'
import type { PostgresOptions } from '../../drivers/postgres.ts'

export interface PostgresEngineOptions extends PostgresOptions {
  /** Where the tables lie; 'deferq' by default. Two schemas are two stores. */
  schema?: string
  /** `false` (or `?migrate=off` in the URL) refuses a schema that lacks this version's tables, and leaves it unchanged. */
  migrate?: boolean
}

const LONGEST_NAME = 63

export function readOptions(options: PostgresEngineOptions): PostgresEngineOptions & { schema: string } {
  const { url, ...rest } = options
  const read = url === undefined ? {} : readUrl(url)
  const { schema = 'deferq', ...all } = { ...read, ...rest }
  if (
    typeof schema !== 'string' ||
    schema === '' ||
    Buffer.byteLength(schema) > LONGEST_NAME ||
    schema.includes('\0')
  ) {
    throw new DeferqError(
      'INVALID_OPTION',
      `schema is '${schema}': use a name of 1 to ${LONGEST_NAME} bytes.`,
    )
  }
  if (all.migrate !== undefined && typeof all.migrate !== 'boolean')
    throw new DeferqError('INVALID_OPTION', `migrate is '${all.migrate}': use true or false.`)
  return { ...all, schema }
}

/** Takes `schema`, `connections`, `listenUrl` and `migrate` out; the rest is for the package pg to read. */
function readUrl(url: string): PostgresEngineOptions {
  const at = url.indexOf('?')
  if (at < 0) return { url }
  const query = new URLSearchParams(url.slice(at + 1))
  const read: PostgresEngineOptions = {}
  const schema = query.get('schema')
  const listenUrl = query.get('listenUrl')
  const connections = query.get('connections')
  const migrate = query.get('migrate')
  if (schema !== null) read.schema = schema
  if (migrate !== null) {
    if (migrate !== 'on' && migrate !== 'off')
      throw new DeferqError('INVALID_URL', `'${maskUrl(url)}': migrate=${migrate} is neither on nor off.`)
    read.migrate = migrate === 'on'
  }
  if (listenUrl !== null) read.listenUrl = listenUrl
  if (connections !== null) {
    read.connections = Number(connections)
    if (!/^\d{1,4}$/.test(connections)) {
      throw new DeferqError(
        'INVALID_URL',
        `'${maskUrl(url)}': connections=${connections} is no whole number.`,
      )
    }
  }
  for (const ours of ['schema', 'listenUrl', 'connections', 'migrate']) query.delete(ours)
  const left = query.toString()
  return { ...read, url: url.slice(0, at) + (left === '' ? '' : `?${left}`) }
}
