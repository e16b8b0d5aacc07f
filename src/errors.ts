/**
 * The closed set of store error codes. Codes are stable within a major version; the README explains each.
 *
 * Filesystem calls (`LayerFs`) do not use these codes: they reject in the shape of Node's `ErrnoException`.
 */
export type StoreErrorCode =
  // input: archives and their content
  | 'ARCHIVE_TRUNCATED'
  | 'ARCHIVE_CORRUPT'
  | 'ARCHIVE_UNSUPPORTED'
  | 'MANIFEST_INVALID'
  | 'CONFIG_INVALID'
  | 'LAYER_INVALID'
  | 'LAYER_MISSING'
  | 'LIMIT_EXCEEDED'
  | 'DIGEST_MISMATCH'
  | 'REFERENCE_INVALID'
  | 'NAME_INVALID'
  | 'CHANGE_INVALID'
  // lookups by ID or name
  | 'IMAGE_NOT_FOUND'
  | 'LAYER_NOT_FOUND'
  | 'CONTAINER_NOT_FOUND'
  | 'REFERENCE_AMBIGUOUS'
  | 'REFERENCE_CONFLICT'
  | 'NAME_CONFLICT'
  // states that forbid a call
  | 'IMAGE_IN_USE'
  | 'LAYER_IN_USE'
  | 'CONTAINER_IN_USE'
  | 'CONTAINER_UNMOUNTED'
  | 'STORE_CLOSED'
  | 'STORE_READ_ONLY'
  | 'STORE_LOCKED'
  // the store's own files
  | 'STORE_CORRUPT'
  | 'STORE_FOREIGN'
  // drivers, engines and the machine
  | 'DRIVER_UNKNOWN'
  | 'DRIVER_UNSUPPORTED'
  | 'ENGINE_UNSUPPORTED'
  | 'HOST_PATH_UNAVAILABLE'
  | 'NO_SPACE'
  | 'SYSTEM'

/** Details of a {@link StoreError}, apart from its code and message. */
export interface StoreErrorOptions {
  /** The error that led to this one. */
  readonly cause?: unknown
  /** What the caller can do about the error, in one sentence. */
  readonly hint?: string | undefined
  /** The path of the file that the error is about. */
  readonly path?: string | undefined
  /** The errno's name, such as `EACCES`, if the operating system rejected a call. */
  readonly errno?: string | undefined
  /** The call that the operating system rejected. */
  readonly syscall?: string | undefined
}

/**
 * Every failure of a store except programming mistakes (`TypeError`) and aborts (the signal's reason). Codes are stable
 * within a major version: check `code`, not the message.
 *
 * @example
 * ```ts
 * import { StoreError } from 'layerstack'
 *
 * try {
 *   await store.remove('team/app:1')
 * } catch (error) {
 *   if (!(error instanceof StoreError) || error.code !== 'IMAGE_IN_USE') throw error
 *   console.log(error.message, error.hint)
 * }
 * ```
 */
export class StoreError extends Error {
  /** Always `StoreError`. */
  override readonly name = 'StoreError'
  /** What went wrong, for programs. */
  readonly code: StoreErrorCode
  /** What the caller can do about the error, in one sentence. */
  readonly hint?: string
  /** The path of the file that the error is about. */
  readonly path?: string
  /** The errno's name, such as `EACCES`, if the operating system rejected a call. */
  readonly errno?: string
  /** The call that the operating system rejected. */
  readonly syscall?: string

  /** @param message what went wrong, with the values involved */
  constructor(code: StoreErrorCode, message: string, options: StoreErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    if (options.hint !== undefined) this.hint = options.hint
    if (options.path !== undefined) this.path = options.path
    if (options.errno !== undefined) this.errno = options.errno
    if (options.syscall !== undefined) this.syscall = options.syscall
  }
}

const EDQUOT = 122

export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '')
}

/** Returns whether the disk is full or a quota is reached, whichever call failed. */
export function isNoSpace(error: unknown): boolean {
  if (error instanceof StoreError) return error.code === 'NO_SPACE'
  // Node has no name for EDQUOT.
  return isErrno(error, 'ENOSPC', 'EDQUOT') || (error as NodeJS.ErrnoException | undefined)?.errno === -EDQUOT
}

/**
 * Wraps an operating-system error once, at the level that adds meaning. ENOSPC and EDQUOT always become `NO_SPACE`,
 * regardless of `code`. A `StoreError` or an abort passes through unchanged.
 */
export function storeError(error: unknown, code: StoreErrorCode, message: string, hint?: string): unknown {
  if (error instanceof StoreError || isAbort(error)) return error
  const system = error instanceof Error ? (error as NodeJS.ErrnoException) : undefined
  const full = isNoSpace(error)
  return new StoreError(full ? 'NO_SPACE' : code, full ? `no space left: ${message}` : message, {
    cause: error,
    hint: full ? 'free some disk space, or raise the quota' : hint,
    path: system?.path,
    errno: typeof system?.errno === 'number' ? system.code : undefined,
    syscall: system?.syscall,
  })
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError')
}
