import { HostFs } from '../fs/host/host-fs.js'
import { layerFs } from '../fs/facade/layer-fs-adapter.js'
import type { HostFsSpec } from '../fs/spec.js'
import { inSteps, orRelease, type OpenedView } from './held-views.js'
import type { LayerHold } from './layer-holds.js'

export interface DirectoryViewOptions {
  /** Released when the view is closed. */
  readonly hold?: LayerHold | undefined
  /** Called when a caller asks for the host path. Absent if views have no host path. */
  readonly onHandOut?: (() => void) | undefined
}

/** Opens a view of a layer that is a host directory. */
export async function openDirectoryView(
  spec: HostFsSpec,
  { hold, onHandOut }: DirectoryViewOptions,
): Promise<OpenedView> {
  const syncFs = await orRelease(hold, () => new HostFs(spec))
  const fs = layerFs(syncFs)
  const close = inSteps(
    () => syncFs.close(),
    () => hold?.release(),
  )
  if (onHandOut === undefined) return { fs, close }
  return {
    fs,
    get hostPath() {
      onHandOut()
      return spec.root
    },
    close,
  }
}
