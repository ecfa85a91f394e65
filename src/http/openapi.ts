// The interface in the words of OpenAPI 3.1, served beside it.

import { PATHS_FOR_PROGRAMS } from './openapi-bulk.ts'
import { content, id, MEANING, PROBLEMS, ref, text } from './openapi-parts.ts'
import { PATHS } from './openapi-paths.ts'
import { SCHEMAS } from './openapi-schemas.ts'

const DOCUMENT = {
  openapi: '3.1.0',
  info: {
    title: 'deferq',
    version: '1',
    description:
      'Work that is run once and answers everybody who asks for it. Paths are below the one where the interface is mounted. ' +
      'Each request is signed with HMAC-SHA256 over these lines, each followed by a line feed: v1r, the method, the path with its query, ' +
      'webhook-id, webhook-timestamp, Idempotency-Key (an empty line without one); and then the body. The signature goes out in base64 as ' +
      '`webhook-signature: v1r,…`. An id is good for one request, a timestamp for five minutes.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '.' }],
  security: [{ id: [], timestamp: [], signature: [] }],
  paths: { ...PATHS, ...PATHS_FOR_PROGRAMS },
  components: {
    securitySchemes: {
      id: { type: 'apiKey', in: 'header', name: 'webhook-id', description: 'Its own for each request.' },
      timestamp: {
        type: 'apiKey',
        in: 'header',
        name: 'webhook-timestamp',
        description: 'Whole seconds since 1970.',
      },
      signature: {
        type: 'apiKey',
        in: 'header',
        name: 'webhook-signature',
        description: 'v1r, a comma, and base64.',
      },
    },
    parameters: {
      Id: { name: 'id', in: 'path', required: true, schema: id },
      Prefer: {
        name: 'Prefer',
        in: 'header',
        schema: text,
        description:
          '`wait=10`: wait up to so many seconds for the end, as far as the server allows (RFC 7240).',
      },
      IdempotencyKey: {
        name: 'Idempotency-Key',
        in: 'header',
        schema: { type: 'string', minLength: 1, maxLength: 512 },
        description:
          'Stands in for the params as what makes two requests the same; with other params it is refused.',
      },
    },
    responses: Object.fromEntries(
      Object.values(PROBLEMS).map((name) => [
        name,
        { description: MEANING[name], content: content(ref('Problem'), 'application/problem+json') },
      ]),
    ),
    schemas: SCHEMAS,
  },
}

export const OPENAPI = JSON.stringify(DOCUMENT)
