"""The table of errors by code size."""

from ssl_jax.reports.code_sizes import size_table


def test_table_has_the_share_of_the_mean_images_error_where_there_is_one():
    errors = {"autoencoder": {2: 0.02, 16: 0.001}, "PCA": {2: 0.03, 16: 0.002}}
    head, small, large = (line.split() for line in size_table(errors, 0.04))
    assert head[-2:] == ["autoencoder", "PCA"]
    assert small == ["2", "0.02000", "(", "50.0%)", "0.03000", "(", "75.0%)"]
    assert large == ["16", "0.00100", "(", "2.5%)", "0.00200", "(", "5.0%)"]
    assert size_table({"PCA": {2: 0.0}}, 0.0)[1].split() == ["2", "0.00000"]
