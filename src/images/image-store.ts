import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hexOf, isDigest, sha256, type ImageID } from '../digest.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { namesIn, removeAbandoned } from '../durable/abandoned.js'
import { syncDirectory } from '../durable/sync-directory.js'
import { readFileIfThere } from '../durable/read-file.js'
import { StoreError } from '../errors.js'
import { parseImageConfig, type ImageConfig } from './image-config.js'

const MAX_NOTE = 4096
const HEX = /^[a-f0-9]{64}$/

/**
 * Image configs by image ID, in Docker's layout `image/<driver>/imagedb`. Configs are raw bytes stored under their
 * digest, which is verified on each read. Docker's notes on an image (`parent`, `lastUpdated`) are stored beside them.
 */
export class ImageStore {
  readonly #content: string
  readonly #metadata: string

  constructor(imageDirectory: string) {
    this.#content = join(imageDirectory, 'imagedb', 'content', 'sha256')
    this.#metadata = join(imageDirectory, 'imagedb', 'metadata', 'sha256')
  }

  async list(): Promise<ImageID[]> {
    const names = namesIn(this.#content)
    return names.filter((name) => HEX.test(name)).map((hex) => `sha256:${hex}` as ImageID)
  }

  async has(id: ImageID): Promise<boolean> {
    return existsSync(join(this.#content, hexOf(id)))
  }

  /**
   * Returns the config's raw bytes. Rejects with `IMAGE_NOT_FOUND`, or with `STORE_CORRUPT` if they do not match the
   * ID.
   */
  async bytes(id: ImageID): Promise<Buffer> {
    const path = join(this.#content, hexOf(id))
    const bytes = readFileIfThere(path)
    if (bytes === undefined) throw new StoreError('IMAGE_NOT_FOUND', `no such image: ${id}`)
    if (sha256(bytes) === id) return bytes
    throw new StoreError('STORE_CORRUPT', `the config of image ${id} does not match its digest`, {
      path,
      hint: 'remove the file and load the image again',
    })
  }

  async config(id: ImageID): Promise<ImageConfig> {
    return parseImageConfig(await this.bytes(id))
  }

  /** Once this resolves, the config is durable. */
  async add(bytes: Uint8Array): Promise<ImageID> {
    const id = sha256<ImageID>(bytes)
    await writeFileAtomic(join(this.#content, hexOf(id)), bytes)
    return id
  }

  /**
   * Once this resolves, the removal is durable. Remove the image's layers afterwards, so that no crash leaves an image
   * without its layers.
   */
  async remove(id: ImageID): Promise<void> {
    await rm(join(this.#metadata, hexOf(id)), { recursive: true, force: true })
    await rm(join(this.#content, hexOf(id)), { recursive: true, force: true })
    await syncDirectory(this.#content)
  }

  /** Returns the parent that Docker or this library noted. A note that is not a digest is ignored. */
  async parent(id: ImageID): Promise<ImageID | undefined> {
    const text = this.#note(id, 'parent')
    return isDigest(text) ? (text as ImageID) : undefined
  }

  /**
   * Call before `add`, so that a kill does not leave the image without its parent. Once this resolves, the note is
   * durable.
   */
  async setParent(id: ImageID, parent: ImageID): Promise<void> {
    const aside = this.#metadata
    await writeFileAtomic(join(aside, hexOf(id), 'parent'), parent, { aside })
  }

  /**
   * Removes temporary files of processes that have ended, and metadata of images that a crash left half made or half
   * removed.
   * @param locked runs work that needs the store's lock
   */
  async tidy(locked: (work: () => Promise<void>) => Promise<void>): Promise<void> {
    const described = namesIn(this.#metadata)
    const content = namesIn(this.#content)
    await removeAbandoned(this.#metadata, described)
    await removeAbandoned(this.#content, content)
    if (described.length === 0) return
    const images = new Set(content)
    const stray = described.filter((name) => HEX.test(name) && !images.has(name))
    if (stray.length > 0) await locked(() => this.#removeStray(stray))
  }

  async #removeStray(metadata: readonly string[]): Promise<void> {
    const images = new Set(namesIn(this.#content))
    for (const hex of metadata) {
      if (!images.has(hex)) await rm(join(this.#metadata, hex), { recursive: true, force: true })
    }
  }

  #note(id: ImageID, name: string): string | undefined {
    try {
      return readFileIfThere(join(this.#metadata, hexOf(id), name), MAX_NOTE)
        ?.toString('latin1')
        .trim()
    } catch (error) {
      if (error instanceof StoreError) return undefined
      throw error
    }
  }
}
