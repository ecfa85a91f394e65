// What deferq/bridge exports: messages to and from consumers and producers in other languages.

export { Bridge, type BridgeEvents } from './bridge.ts'
export { violationsOf } from './check-envelope.ts'
export {
  annotated,
  type DeadLetter,
  type Decoded,
  decodeEnvelope,
  type Envelope,
  type EnvelopeOptions,
  encodeEnvelope,
  type Meta,
  newEnvelope,
  propertiesOf,
  type Refusal,
  restored,
  withAttempts,
} from './envelope.ts'
export type { DeadLetterReason, Language } from './envelope-shape.ts'
export type { BridgeOptions, UnknownStrategy } from './options.ts'
export { Producer, type ProducerOptions, type SendItem, type SendOptions, type Sent } from './producer.ts'
export type { BridgeEvent, BridgeSummary } from './stats.ts'
