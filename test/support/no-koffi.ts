process.env['LAYERSTACK_NO_KOFFI'] = '1'

/** Import it first: whoever asks for system calls after that has none but Node's own. */
export const withoutKoffi = 'without koffi'
