// Reads a RabbitMQ URL: which nodes of a cluster, which virtual host and which login.
import { DeferqError, maskUrl } from '../../base/errors.ts'

export interface Target {
  tls: boolean
  /** Tried in turn. */
  hosts: readonly { host: string; port: number }[]
  username: string
  password: string
  vhost: string
  /** Fit for messages. */
  masked: string
}

const URL_SHAPE = /^(amqps?):\/\/(?:([^@/?#]*)@)?([^@/?#]*)(?:\/([^/?#]*))?$/i
const HOST_SHAPE = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+)(?::(\d{1,5}))?$/i

export function readUrl(url: string): Target {
  const masked = maskUrl(url)
  const wrong = (what: string): DeferqError =>
    new DeferqError(
      'INVALID_URL',
      `The RabbitMQ URL ${masked} ${what}. Write it like amqp://localhost, amqps://user:password@host:5671/vhost or ` +
        'amqp://user:password@node1,node2/vhost (%2F for a slash in the name of a vhost).',
    )
  const match = URL_SHAPE.exec(url) as (string | undefined)[] | null
  if (match === null) throw wrong('can’t be read')
  const [, scheme = '', login, list = '', path = ''] = match
  const tls = scheme.toLowerCase() === 'amqps'
  const hosts = (list === '' ? 'localhost' : list).split(',').map((text) => {
    const host = HOST_SHAPE.exec(text)
    const port = Number(host?.[2] ?? (tls ? 5_671 : 5_672))
    if (host === null || port < 1 || port > 65_535) throw wrong(`names the host '${text}', which is none`)
    return { host: (host[1] as string).replace(/^\[|\]$/g, ''), port }
  })
  try {
    const colon = login?.indexOf(':') ?? -1
    return {
      tls,
      hosts,
      username: login ? decodeURIComponent(colon < 0 ? login : login.slice(0, colon)) : 'guest',
      password: login ? (colon < 0 ? '' : decodeURIComponent(login.slice(colon + 1))) : 'guest',
      vhost: path === '' ? '/' : decodeURIComponent(path),
      masked,
    }
  } catch {
    throw wrong('has a login or a vhost that is not percent-encoded properly')
  }
}
