// The parts that the OpenAPI document is put together from.

export const ref = (name: string): object => ({ $ref: `#/components/schemas/${name}` })
export const content = (schema: object, type = 'application/json'): object => ({ [type]: { schema } })
export const parameter = (name: string): object => ({ $ref: `#/components/parameters/${name}` })
export const problem = (...statuses: number[]): object =>
  Object.fromEntries(
    statuses.map((status) => [status, { $ref: `#/components/responses/${PROBLEMS[status] as string}` }]),
  )

export const PROBLEMS: Record<number, string> = {
  400: 'Malformed',
  401: 'Unsigned',
  404: 'NotHere',
  409: 'InTheWay',
  410: 'Gone',
  413: 'TooLarge',
  415: 'NotJson',
  422: 'Refused',
  503: 'Unavailable',
}
export const MEANING: Record<string, string> = {
  Malformed: 'The body is no JSON object in UTF-8.',
  Unsigned: 'The signature is missing, malformed, late, wrong or spent; `reason` says which.',
  NotHere: 'There is nothing at this path.',
  InTheWay: 'A run of the same work is pending or running, and onDuplicate refuses to join it.',
  Gone: 'No run has this id: it never was, or its retention is over.',
  TooLarge: 'The body, or the params in it, are over the limit.',
  NotJson: 'The body is not JSON as it is.',
  Refused: 'A name that is not offered, params that its schema refuses, an option that is malformed.',
  Unavailable: 'The store is away; try again after a moment.',
}
export const text = { type: 'string' }
export const time = { type: 'string', format: 'date-time' }
export const id = { type: 'string', pattern: '^[0-9a-f]{88}$' }
export const duration = {
  description: "Milliseconds, or text with a unit: '90s', '5m', '1h'.",
  oneOf: [
    { type: 'number', minimum: 0 },
    { type: 'string', pattern: '^\\s*\\d+(\\.\\d+)?\\s*(ms|s|m|h|d|w)\\s*$' },
  ],
}
export const header = (description: string): object => ({ description, schema: text })
