// What deferq/bridge exports: messages to and from consumers and producers in other languages.

export { Bridge, type BridgeEvents } from './bridge.ts'
export {
  annotated,
  type DeadLetter,
  type DeadLetterReason,
  type Decoded,
  decodeEnvelope,
  type Envelope,
  type EnvelopeOptions,
  encodeEnvelope,
  type Language,
  type Meta,
  newEnvelope,
  propertiesOf,
  type Refusal,
  restored,
  violationsOf,
  withAttempts,
} from './envelope.ts'
export type { BridgeOptions, UnknownStrategy } from './options.ts'
export { Producer, type ProducerOptions, type SendItem, type SendOptions, type Sent } from './producer.ts'
export type { BridgeEvent, BridgeSummary } from './stats.ts'
