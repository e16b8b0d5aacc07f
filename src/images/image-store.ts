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
 * Image configs by image ID, as Docker keeps them in `image/<driver>/imagedb`: raw bytes under their own digest, which is
 * checked at each read, and beside them what Docker notes of an image (`parent`, `lastUpdated`).
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

  /** The config's raw bytes. Throws `IMAGE_NOT_FOUND`, and `STORE_CORRUPT` if they are not what the ID says. */
  async bytes(id: ImageID): Promise<Buffer> {
    const path = join(this.#content, hexOf(id))
    const bytes = readFileIfThere(path)
    if (bytes === undefined) throw new StoreError('IMAGE_NOT_FOUND', `there is no image ${id}`)
    if (sha256(bytes) === id) return bytes
    throw new StoreError('STORE_CORRUPT', `the config of image ${id} has changed on disk`, {
      path,
      hint: 'remove the file and load the image again',
    })
  }

  async config(id: ImageID): Promise<ImageConfig> {
    return parseImageConfig(await this.bytes(id))
  }

  /** When this resolves the config is durable. */
  async add(bytes: Uint8Array): Promise<ImageID> {
    const id = sha256<ImageID>(bytes)
    await writeFileAtomic(join(this.#content, hexOf(id)), bytes)
    return id
  }

  /**
   * When this resolves the removal is durable. The layers of the image go after it, so that no crash leaves an image without
   * its layers.
   */
  async remove(id: ImageID): Promise<void> {
    await rm(join(this.#metadata, hexOf(id)), { recursive: true, force: true })
    await rm(join(this.#content, hexOf(id)), { recursive: true, force: true })
    await syncDirectory(this.#content)
  }

  /** As Docker noted it; a note that is no digest says nothing. */
  async parent(id: ImageID): Promise<ImageID | undefined> {
    const text = this.#note(id, 'parent')
    return isDigest(text) ? (text as ImageID) : undefined
  }

  /** Before `add`, so that a kill leaves no image without its parent. When this resolves the note is durable. */
  async setParent(id: ImageID, parent: ImageID): Promise<void> {
    const aside = this.#metadata
    await writeFileAtomic(join(aside, hexOf(id), 'parent'), parent, { aside })
  }

  /**
   * Clears temporary files of processes that have ended, and metadata of images that a crash made or removed in part.
   * @param locked runs what needs the store's lock
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
