import { isDigest, type Digest } from '../digest.js'
import { isReference } from '../references/reference.js'
import { archivedImage, type ArchivedImage, type ArchivedLayer } from './archived-image.js'
import { blobName, manifestInvalid, wrongSize, type Documents } from './documents.js'
import { isPlatform, machinePlatform, platformText, type Platform } from '../images/platform.js'

const INDEX_TYPES = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
])
const MAX_DEPTH = 4
/** Applies to all indexes together. */
const MAX_ENTRIES = 10_000

/**
 * Reads the images of an OCI layout. Entries for different platforms are one image if they share a name or are in an
 * index nested in `index.json`. One of them is taken: the wanted platform's. If none is wanted, it is the machine's,
 * else the only one whose manifest is in the archive. BuildKit's attestations are not images.
 */
export async function ociImages(
  documents: Documents,
  wanted: Platform | undefined,
): Promise<ArchivedImage[]> {
  return new OciReader(documents, wanted).images()
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly annotations: Fields
  readonly platform: Platform | undefined
}

type Fields = Readonly<Record<string, unknown>>

class OciReader {
  readonly #documents: Documents
  readonly #wanted: Platform | undefined
  readonly #layers = new Map<Digest, readonly ArchivedLayer[]>()
  #entries = 0

  constructor(documents: Documents, wanted: Platform | undefined) {
    this.#documents = documents
    this.#wanted = wanted
  }

  async images(): Promise<ArchivedImage[]> {
    const index = fieldsOf(await this.#documents.json('index.json'), 'index.json')
    const byName = new Map<string | undefined, Descriptor[]>()
    for (const descriptor of this.#manifests(index)) {
      const name = nameOf(descriptor)
      const named = byName.get(name)
      if (named === undefined) byName.set(name, [descriptor])
      else named.push(descriptor)
    }
    const images: ArchivedImage[] = []
    for (const [name, descriptors] of byName) {
      const entries = name === undefined ? descriptors : this.#choose(descriptors)
      for (const entry of entries) images.push(...(await this.#resolve(entry, name, 1)))
    }
    return images
  }

  async #resolve(descriptor: Descriptor, name: string | undefined, depth: number): Promise<ArchivedImage[]> {
    if (depth > MAX_DEPTH) throw manifestInvalid(`its indexes are nested more than ${MAX_DEPTH} levels deep`)
    const document = fieldsOf(await this.#documents.blobJson(descriptor), descriptor.digest)
    if (!INDEX_TYPES.has(descriptor.mediaType) && !('manifests' in document)) {
      return [await this.#image(descriptor.digest, document, name)]
    }
    const images: ArchivedImage[] = []
    for (const entry of this.#choose(this.#manifests(document))) {
      images.push(...(await this.#resolve(entry, nameOf(entry) ?? name, depth + 1)))
    }
    return images
  }

  #manifests({ manifests }: Fields): Descriptor[] {
    if (!Array.isArray(manifests)) throw manifestInvalid('an index is malformed')
    this.#entries += manifests.length
    if (this.#entries > MAX_ENTRIES)
      throw manifestInvalid(`its indexes have more than ${MAX_ENTRIES} entries`)
    return manifests.map(descriptorOf).filter((descriptor) => !isAttestation(descriptor))
  }

  /** Takes all of them unless they are one image for different platforms. */
  #choose(descriptors: readonly Descriptor[]): readonly Descriptor[] {
    if (descriptors.length < 2 && this.#wanted === undefined) return descriptors
    const offered = descriptors.flatMap(({ platform }) => (platform === undefined ? [] : [platform]))
    if (offered.length < descriptors.length || offered.length === 0) return descriptors
    const wanted = this.#wanted ?? machinePlatform()
    const match = descriptors.find(({ platform }) => platform !== undefined && isPlatform(platform, wanted))
    if (match !== undefined) return [match]
    const here = descriptors.filter(({ digest }) => this.#documents.files.has(blobName(digest)))
    if (this.#wanted === undefined && here.length === 1) return here
    const names = [...new Set(offered.map(platformText))].join(', ')
    throw manifestInvalid(`it has images for ${names}, but not for ${platformText(wanted)}`)
  }

  async #image(digest: Digest, manifest: Fields, name: string | undefined): Promise<ArchivedImage> {
    const config = await this.#documents.blobConfig(descriptorOf(manifest['config']))
    const layers = this.#layers.get(digest) ?? (await this.#layersOf(manifest))
    this.#layers.set(digest, layers)
    return archivedImage(config, name === undefined ? [] : [name], layers)
  }

  async #layersOf({ layers }: Fields): Promise<readonly ArchivedLayer[]> {
    if (!Array.isArray(layers)) throw manifestInvalid('an image manifest is malformed')
    const archived: ArchivedLayer[] = []
    for (const layer of layers) {
      const { digest, size } = descriptorOf(layer)
      const name = blobName(digest)
      const actual = await this.#documents.files.size(name)
      if (actual !== undefined && actual !== size) throw wrongSize(digest, actual, size)
      archived.push({ name, blob: digest })
    }
    return archived
  }
}

function descriptorOf(value: unknown): Descriptor {
  const { digest, size, mediaType, annotations, platform } = fieldsOf(value, 'a descriptor')
  if (!isDigest(digest)) throw manifestInvalid(`a descriptor has no sha256 digest: ${JSON.stringify(digest)}`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw manifestInvalid(`the descriptor of ${digest} has no valid size`)
  }
  return {
    mediaType: typeof mediaType === 'string' ? mediaType : '',
    digest,
    size,
    annotations: fieldsOf(annotations ?? {}, 'annotations'),
    platform: platformOf(platform),
  }
}

function platformOf(value: unknown): Platform | undefined {
  const { os, architecture, variant } = fieldsOf(value ?? {}, 'a platform')
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined
  return { os, architecture, variant: typeof variant === 'string' ? variant : undefined }
}

function isAttestation({ annotations, platform }: Descriptor): boolean {
  return (
    annotations['vnd.docker.reference.type'] === 'attestation-manifest' ||
    (platform?.os === 'unknown' && platform.architecture === 'unknown')
  )
}

/** containerd's annotation is a full name. OCI's own may be only a tag, or any text; neither gives a name. */
function nameOf({ annotations }: Descriptor): string | undefined {
  const whole = annotations['io.containerd.image.name']
  if (typeof whole === 'string') return whole
  const name = annotations['org.opencontainers.image.ref.name']
  return typeof name === 'string' && /[:/]/.test(name) && isReference(name) ? name : undefined
}

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw manifestInvalid(`${what} is malformed`)
}
