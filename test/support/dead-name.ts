import { temporaryName } from '#layerstack/sys/temporary-name.js'

/** A temporary name of a process that has ended: its process ID is above the highest that Linux gives. */
export function nameOfDead(label: string): string {
  return temporaryName(label).replace(/-\d+\.(?=(?:\d+|-)\.[^-]+$)/, '-4194305.')
}
