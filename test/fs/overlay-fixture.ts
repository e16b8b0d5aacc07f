import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { readOverlayDir } from '#layerstack/fs/overlay-marks.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import type { AttributeMode, UnionFsSpec } from '#layerstack/fs/spec.js'
import { UnionFs } from '#layerstack/fs/union/union-fs.js'
import { enterDirectory } from '../support/ledger.js'
import { noCalls } from '../support/needs.js'
import { LAYER_NAMES, OLD_NS, type LayerName } from './union-layers.js'

const isRoot = process.getuid?.() === 0
/** For an ordinary user, owners and devices are stored in xattrs, or in a sidecar if there are no system calls. */
export const ATTRIBUTES: AttributeMode = isRoot ? 'native' : noCalls === undefined ? 'override' : 'sidecar'

/** The directories of an overlay of three layers, for a `UnionFs` to open or the kernel to mount. */
export class OverlayFixture {
  readonly root: string
  readonly layers: Record<LayerName, HostFs>
  readonly #attributes: AttributeMode
  #mounted = false

  constructor(attributes = ATTRIBUTES) {
    this.root = mkdtempSync(join(tmpdir(), 'layerstack-union-'))
    enterDirectory(this.root)
    chmodSync(this.root, 0o755)
    this.#attributes = attributes
    for (const name of [...LAYER_NAMES, 'work', 'merged']) mkdirSync(join(this.root, name))
    const layer = (name: string) => new HostFs({ kind: 'host', root: join(this.root, name), attributes })
    this.layers = { low: layer('low'), mid: layer('mid'), upper: layer('upper') }
  }

  /** Sets the times of the roots. Call it once the layers are filled. */
  setTimes(): void {
    for (const name of LAYER_NAMES) this.layers[name].utimes('' as ByteString, OLD_NS, OLD_NS)
  }

  get spec(): UnionFsSpec {
    const host = (name: string) =>
      ({ kind: 'host', root: join(this.root, name), attributes: this.#attributes }) as const
    return {
      kind: 'union',
      upper: host('upper'),
      work: join(this.root, 'work'),
      lowers: [host('mid'), host('low')],
    }
  }

  /** The host directory where a union prepares objects before it renames them into place, and their name prefix. */
  get workspace(): readonly [directory: string, prefix: string] {
    if (this.#attributes === 'sidecar') return [join(this.root, 'upper'), '.wh..wh.layerstack.']
    return [join(this.root, 'work', 'work'), '#']
  }

  union({ volatile = true } = {}): UnionFs {
    return new UnionFs({ ...this.spec, volatile })
  }

  /** The layers below this one, as a read-only union. */
  below(layer: 'mid' | 'upper'): UnionFs {
    const { lowers } = this.spec
    return new UnionFs({ kind: 'union', lowers: layer === 'upper' ? lowers : lowers.slice(1) })
  }

  /** Mounts the layers as Docker does. A `volatile` mount does not sync, and cannot be mounted again. */
  mount({ volatile = false } = {}): HostFs {
    const at = (name: string) => join(this.root, name)
    const layers = `lowerdir=${at('mid')}:${at('low')},upperdir=${at('upper')},workdir=${at('work')}`
    const options = `${layers},index=off,redirect_dir=off,metacopy=off${volatile ? ',volatile' : ''}`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, at('merged')], { stdio: 'pipe' })
    this.#mounted = true
    return new HostFs({ kind: 'host', root: at('merged') })
  }

  unmount(): void {
    if (this.#mounted) execFileSync('umount', [join(this.root, 'merged')], { stdio: 'pipe' })
    this.#mounted = false
  }

  remove(): void {
    this.unmount()
    rmSync(this.root, { recursive: true, force: true })
  }

  [Symbol.dispose](): void {
    this.remove()
  }

  /**
   * Lists what the upper directory has and what it hides, one line per name. Leaves out opaque marks on directories
   * that hide nothing: the kernel sets them, a `UnionFs` does not.
   */
  marks(top: ByteString, below: SyncFs = this.below('upper')): string[] {
    const { upper } = this.layers
    const lines: string[] = []
    const visit = (path: ByteString) => {
      const { entries, whiteouts, opaque } = readOverlayDir(upper, path)
      if (opaque && typeAt(below, path) === 'directory') lines.push(`/${path} is opaque`)
      for (const name of whiteouts) lines.push(`/${joinBytes(path, name)} is hidden`)
      for (const { name, type } of entries) {
        const child = joinBytes(path, name)
        lines.push(`/${child} ${type}`)
        if (type === 'directory') visit(child)
      }
    }
    if (typeAt(upper, top) === 'directory') visit(top)
    return lines.toSorted()
  }
}

/** Why the kernel's overlay cannot be the reference; undefined if it can. */
export function noOracle(): string | undefined {
  if (!isRoot) return 'only root may mount'
  const fixture = new OverlayFixture()
  try {
    fixture.mount()
    return undefined
  } catch (error) {
    return `the kernel refuses an overlay mount: ${error instanceof Error ? error.message : String(error)}`
  } finally {
    fixture.remove()
  }
}

function typeAt(fs: SyncFs, path: ByteString): string | undefined {
  try {
    return fs.lstat(path).type
  } catch {
    return undefined
  }
}
