// Turns messages into what AMQP carries beside a body, and back.
import type { ConsumeMessage, MessageProperties, Options } from 'amqplib'
import type { Properties } from '../../contract/transport.ts'

// What a broker adds on the way. Sent again, the deaths would make it take the next delay for a loop, and drop the message.
const BROKERS = /^(x-death|x-(first|last)-death-(exchange|queue|reason)|x-delivery-count|x-acquired-count)$/
const TEXTS = ['type', 'messageId', 'correlationId', 'appId', 'contentType', 'contentEncoding'] as const

/** How each message is sent: kept on disk, and back when no queue takes it. */
const SENT = { persistent: true, mandatory: true } as const

export function optionsOf(properties: Properties = {}): Options.Publish {
  const { headers, ...texts } = properties
  return { ...texts, ...(headers === undefined ? {} : { headers: { ...headers } }), ...SENT }
}

/** For a message that is sent on as it came: with what `Properties` has no place for. */
export function optionsAsCame(properties: MessageProperties): Options.Publish {
  const { headers, clusterId: _old, userId: _itsSender, deliveryMode: _always, ...rest } = properties
  const { CC: _copies, ...kept } = withoutBrokers(headers)
  return { ...rest, headers: kept, ...SENT }
}

export function propertiesOf(message: ConsumeMessage): Properties | undefined {
  const found: { -readonly [Name in keyof Properties]: Properties[Name] } = {}
  for (const name of TEXTS) {
    const text: unknown = message.properties[name]
    if (typeof text === 'string') found[name] = text
  }
  const headers = Object.entries(withoutBrokers(message.properties.headers)).filter(
    (header): header is [string, string | number] =>
      typeof header[1] === 'string' || typeof header[1] === 'number',
  )
  if (headers.length > 0) found.headers = Object.fromEntries(headers)
  return Object.keys(found).length > 0 ? found : undefined
}

/** A quorum queue counts; a classic one only remembers that there was a first time. */
export function deliveriesOf({ fields, properties }: ConsumeMessage): number {
  const count: unknown = properties.headers?.['x-delivery-count']
  return typeof count === 'number' ? count : fields.redelivered ? 1 : 0
}

function withoutBrokers(headers: Record<string, unknown> = {}): Record<string, unknown> {
  const entries = Object.entries(headers)
  return Object.fromEntries(entries.filter(([name]) => !BROKERS.test(name)))
}
