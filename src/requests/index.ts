// What deferq/requests exports: the ready task that sends requests, and what goes with it.
export type { Key, Keys } from './keys.ts'
export type { HeaderValue, JwtOptions, RequestOptions, RequestParams, RequestResult } from './request-spec.ts'
export { type HttpRequestOptions, httpRequest } from './task.ts'
export type { WebhookCallback } from './webhook.ts'
