import { sha256, type Digest, type ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import { parseImageConfig, type ImageConfig } from '../images/image-config.js'
import { parseJson } from '../json.js'
import { limitExceeded, type ResolvedLimits } from '../limits.js'
import { documentTooLarge, type ArchiveFiles } from './archive-files.js'

/** All documents of an archive together may have this many times the bytes of one document. */
const MANY = 8

/** What an archive claims about a blob. */
export interface BlobClaim {
  readonly digest: Digest
  readonly size: number
}

export interface ConfigDocument {
  readonly id: ImageID
  readonly bytes: Buffer
  readonly config: ImageConfig
}

/** The small files of an archive, which describe the large ones. Each is read once, however often it is named. */
export class Documents {
  readonly files: ArchiveFiles
  readonly #signal: AbortSignal | undefined
  readonly #known = new Map<string, unknown>()
  readonly #limits: ResolvedLimits
  #bytes = 0

  constructor(files: ArchiveFiles, limits: ResolvedLimits, signal?: AbortSignal) {
    this.files = files
    this.#limits = limits
    this.#signal = signal
  }

  json(name: string): Promise<unknown> {
    return this.#once(`json ${name}`, async () => parse(await this.#read(name), name))
  }

  config(name: string): Promise<ConfigDocument> {
    return this.#once(`config ${name}`, async () => this.#configOf(await this.#read(name)))
  }

  blobJson(claim: BlobClaim): Promise<unknown> {
    return this.#once(`json ${keyOf(claim)}`, async () => parse(await this.#blob(claim), claim.digest))
  }

  blobConfig(claim: BlobClaim): Promise<ConfigDocument> {
    return this.#once(`config ${keyOf(claim)}`, async () => this.#configOf(await this.#blob(claim)))
  }

  async #blob({ digest, size }: BlobClaim): Promise<Buffer> {
    const bytes = await this.#read(blobName(digest))
    if (bytes.length !== size) throw wrongSize(digest, bytes.length, size)
    if (sha256(bytes) === digest) return bytes
    throw new StoreError(
      'DIGEST_MISMATCH',
      `the content of the archive's file ${blobName(digest)} does not match its digest`,
    )
  }

  async #read(name: string): Promise<Buffer> {
    this.#signal?.throwIfAborted()
    const size = (await this.files.size(name)) ?? 0
    const { documentBytes } = this.#limits
    if (size > documentBytes) throw documentTooLarge(name, size, documentBytes)
    this.#bytes += size
    if (this.#bytes > MANY * documentBytes) {
      const what = `the manifests and configs exceed ${MANY * documentBytes} bytes in total`
      throw limitExceeded('documentBytes', documentBytes, what)
    }
    return this.files.read(name)
  }

  #configOf(bytes: Buffer): ConfigDocument {
    const config = parseImageConfig(bytes)
    const { length } = config.rootfs.diff_ids
    if (length > this.#limits.layers) {
      throw limitExceeded(
        'layers',
        this.#limits.layers,
        `an image has ${length} layers, more than ${this.#limits.layers}`,
      )
    }
    return { id: sha256<ImageID>(bytes), bytes, config }
  }

  async #once<T>(key: string, read: () => Promise<T>): Promise<T> {
    if (!this.#known.has(key)) this.#known.set(key, await read())
    return this.#known.get(key) as T
  }
}

export function blobName(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`
}

export function wrongSize(digest: Digest, actual: number, claimed: number): StoreError {
  return new StoreError(
    'DIGEST_MISMATCH',
    `the archive's blob ${digest} has ${actual} bytes, but its descriptor says ${claimed}`,
  )
}

export function manifestInvalid(why: string, cause?: unknown): StoreError {
  return new StoreError('MANIFEST_INVALID', `the archive cannot be loaded: ${why}`, { cause })
}

function keyOf({ digest, size }: BlobClaim): string {
  return `${digest} ${size}`
}

function parse(bytes: Buffer, name: string): unknown {
  try {
    return parseJson(bytes.toString('utf8'))
  } catch (error) {
    throw manifestInvalid(`${name} is not valid JSON`, error)
  }
}
