import { createHash } from 'node:crypto'

/** `sha256:` and 64 lower-case hex digits. The brands keep digests of different things apart. */
export type Digest = string & { readonly __digest: unique symbol }
/** The sha256 of a layer's uncompressed tar, exactly as received, including any bytes after the end marker. */
export type DiffID = Digest & { readonly __diffId: unique symbol }
/**
 * Identity of a stack of layers: `ChainID(L0) = DiffID(L0)`, `ChainID(Ln) = sha256(ChainID(Ln-1) + " " + DiffID(Ln))`
 * (OCI image-spec, config).
 */
export type ChainID = Digest & { readonly __chainId: unique symbol }
/** The sha256 of the raw bytes of an image's config. */
export type ImageID = Digest & { readonly __imageId: unique symbol }

const SHA256 = /^sha256:[a-f0-9]{64}$/

/** The DiffID of the empty tar, 1024 NUL bytes. `empty_layer` history entries stand for this layer. */
export const EMPTY_DIFF_ID =
  'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef' as DiffID

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && SHA256.test(text)
}

export function sha256<T extends Digest = Digest>(...parts: (Uint8Array | string)[]): T {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return `sha256:${hash.digest('hex')}` as T
}

/** Returns the 64 hex digits, which name the digest's file. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length)
}

/** `ChainID(L0) = DiffID(L0)`; `ChainID(Ln) = sha256(ChainID(Ln-1) + " " + DiffID(Ln))` (OCI image-spec, config). */
export function chainId(parent: ChainID | undefined, diffId: DiffID): ChainID {
  return parent === undefined ? (diffId as Digest as ChainID) : sha256<ChainID>(`${parent} ${diffId}`)
}

/** Returns the ChainID of every prefix of a stack, lowest first. */
export function chainIds(diffIds: readonly DiffID[]): ChainID[] {
  const chain: ChainID[] = []
  for (const diffId of diffIds) chain.push(chainId(chain.at(-1), diffId))
  return chain
}
