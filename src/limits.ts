import { StoreError } from './errors.js'

/**
 * Limits on the resources that an archive may use. Exceeding one is `LIMIT_EXCEEDED`; the error's hint names the option
 * that raises it. The defaults admit every real image known to us: 500,000 entries, 20 GB, a few hundred layers.
 *
 * Values are positive numbers; `Infinity` removes a limit.
 */
export interface Limits {
  /**
   * Entries of one tar: the archive itself, or a layer, including the directories that its paths imply.
   * @default 1,000,000
   */
  readonly entries?: number | undefined
  /** Bytes of a path or link target, as stored in the tar. Linux accepts 4,095 for a cleaned path. @default 8192 */
  readonly pathLength?: number | undefined
  /** Components of a path. @default 1024 */
  readonly pathDepth?: number | undefined
  /**
   * Bytes of one extension header (PAX records or a long name). All headers of one entry together may have four times
   * as many. At most 64 MiB.
   * @default 1 MiB
   */
  readonly extensionBytes?: number | undefined
  /** PAX records of one entry. @default 10,000 */
  readonly paxRecords?: number | undefined
  /** Bytes of all files that one call unpacks, including holes. @default 256 GiB */
  readonly unpackedBytes?: number | undefined
  /**
   * Maximum ratio of uncompressed to compressed size, for an archive or a layer. The first 256 MiB are exempt, so that
   * a layer of zeros passes.
   * @default 100
   */
  readonly expansion?: number | undefined
  /** Bytes of memory that a zstd frame may request. @default 128 MiB, as `zstd -d` */
  readonly zstdWindow?: number | undefined
  /**
   * Bytes of one manifest, index or config. All of one archive together may have eight times as many. @default 4 MiB
   */
  readonly documentBytes?: number | undefined
  /** Layers of one image. @default 1,000 */
  readonly layers?: number | undefined
}

/** Limits with every value set. Plain data, so it can be sent to worker threads. */
export type ResolvedLimits = { readonly [Name in keyof Limits]-?: number } & {
  /** Bytes that the call has unpacked before. They count against `unpackedBytes`. @default 0 */
  readonly unpackedBefore?: number
}

export const DEFAULT_LIMITS: ResolvedLimits = {
  entries: 1_000_000,
  pathLength: 8192,
  pathDepth: 1024,
  extensionBytes: 1 << 20,
  paxRecords: 10_000,
  unpackedBytes: 256 * 2 ** 30,
  expansion: 100,
  zstdWindow: 128 << 20,
  documentBytes: 4 << 20,
  layers: 1_000,
}

const MAX_EXTENSION = 64 << 20

/** For tars that this store has verified or creates itself. */
export const NO_LIMITS: ResolvedLimits = {
  entries: Infinity,
  pathLength: Infinity,
  pathDepth: Infinity,
  extensionBytes: MAX_EXTENSION,
  paxRecords: Infinity,
  unpackedBytes: Infinity,
  expansion: Infinity,
  zstdWindow: DEFAULT_LIMITS.zstdWindow,
  documentBytes: Infinity,
  layers: Infinity,
}

/** Validates the caller's limits and fills in the defaults. Throws `TypeError`. */
export function resolveLimits(limits: Limits = {}): ResolvedLimits {
  const resolved: Record<keyof Limits, number> = { ...DEFAULT_LIMITS }
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name)) throw new TypeError(`unknown limit: ${name}`)
    if (value === undefined) continue
    if (typeof value !== 'number' || !(value > 0)) {
      throw new TypeError(`limits.${name} must be a positive number, not ${String(value)}`)
    }
    resolved[name as keyof Limits] = value
  }
  return { ...resolved, extensionBytes: Math.min(resolved.extensionBytes, MAX_EXTENSION) }
}

/** @param what a clause without a full stop, for example `the layer has more than 1000000 entries` */
export function limitExceeded(name: keyof Limits, limit: number, what: string): StoreError {
  const isHighest = name === 'extensionBytes' && limit >= MAX_EXTENSION
  return new StoreError('LIMIT_EXCEEDED', `limit exceeded: ${what}`, {
    hint: isHighest
      ? `limits.${name} cannot be higher`
      : `if you trust the archive, raise limits.${name} above ${limit}`,
  })
}
